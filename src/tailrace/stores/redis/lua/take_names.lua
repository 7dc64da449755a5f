-- take_names: Ids for names, the same each time, and what has been put of them.
--   ARGV[1]: names
if not copied_through() then return { 'moved' } end
local found = {}
for i, name in ipairs(cmsgpack.unpack(ARGV[1])) do
  local id = call('HGET', P .. 'copying', name)
  if not id then
    id = text(call('HINCRBY', P .. 'head', 'ids', 1))
    call('HSET', P .. 'copying', name, id)
  end
  found[i] = { id, call('HGET', P .. 'topics', name) or call('HGET', P .. 'kept', id) or '' }
end
return { 'names', found }
