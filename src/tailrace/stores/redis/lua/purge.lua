-- purge: Remove some of what a deleted topic has left; answers whether there is more to remove.
--   ARGV[1]: how many events
local id = call('LINDEX', P .. 'orphans', 0)
if not id then return { 0 } end
local positions = index_range(P .. 'i:' .. id, 0, LAST, ARGV[1], false)
for _, position in ipairs(positions) do
  if not remove_event(id, position) then index_remove(P .. 'i:' .. id, position) end
end
if #positions < tonumber(ARGV[1]) then
  call('LREM', P .. 'orphans', 1, id)
  call('UNLINK', P .. 'i:' .. id, P .. 'c:' .. id, P .. 'p:' .. id, P .. 'x:' .. id, P .. 'n:' .. id)
end
return { 1 }
