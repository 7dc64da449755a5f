-- take_lineage: Note for forks what each inherits from whom, in the order they were born: so a source comes before its
-- forks. Answers how many were looked at.
--   ARGV: how many are done, how many to do
if not copied_through() then return { 'moved' } end
local function ancestor(id, name, upto, born)
  return '[' .. id .. ',' .. cjson.encode(name) .. ',' .. text(upto) .. ',' .. text(born) .. ']'
end
local forks = call('ZRANGE', P .. 'copyforks', ARGV[1], ARGV[1] + ARGV[2] - 1)
for _, id in ipairs(forks) do
  local name = call('HGET', P .. 'ids', id)
  local blob = name and call('HGET', P .. 'topics', name) or call('HGET', P .. 'kept', id)
  if blob then
    local what = cjson.decode(string.match(blob, '^%d+:(.*)$'))
    name = name or call('HGET', P .. 'kept', 'n' .. id)
    local line = call('HGET', P .. 'lineage', what.source_id)
    line = line and cjson.decode(line) or { { what.source_id, what.source, LAST, 0 } }
    local texts = { ancestor(id, name, LAST, what.born) }
    for i, one in ipairs(line) do
      texts[i + 1] = ancestor(text(one[1]), one[2], math.min(one[3], what.position or 0), one[4])
    end
    call('HSET', P .. 'lineage', id, '[' .. table.concat(texts, ',') .. ']')
  end
end
return { 'done', #forks }
