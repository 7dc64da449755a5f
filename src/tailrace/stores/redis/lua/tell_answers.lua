-- tell_answers: First answers to keys and ids in topics that exist, and where to go on, or nothing.
--   ARGV: the name of the notes, the last that was told, how many
local notes, limit = P .. 'told:' .. ARGV[1], tonumber(ARGV[3])
local keys = call('ZRANGEBYLEX', notes, ARGV[2] == '' and '-' or '(' .. ARGV[2], '+', 'LIMIT', 0, limit)
local found = {}
for _, key in ipairs(keys) do
  local name = call('HGET', P .. 'ids', string.match(key, '^.:(%d+):'))
  local value = name and call('GET', P .. key)
  if value then found[#found + 1] = { name, key, value } end
end
if #keys == limit then return { found, { keys[#keys] } } end
call('UNLINK', notes)
return { found, {} }
