-- look: What is known of topics, and of whole families of forks, at one moment.
--   ARGV[1]: names; ARGV[2]: names whose families are asked for
local rows, families, seen = {}, {}, {}
for i, name in ipairs(cmsgpack.unpack(ARGV[1])) do rows[i] = row(name) end

-- `rows.py: Kin` reads it.
local function kin(id)
  local name, gone = call('HGET', P .. 'ids', id), 0
  local blob, removed
  if name then
    blob, removed = call('HGET', P .. 'topics', name), call('ZSCORE', P .. 'removed', name) or '0'
  else
    gone = 1
    local kept = call('HMGET', P .. 'kept', id, 'n' .. id, 'm' .. id)
    blob, name, removed = kept[1] or '', kept[2] or '', kept[3] or '0'
  end
  local counts = call('HMGET', P .. 'c:' .. id, 't', 'u')
  local line = call('HGET', P .. 'lineage', id) or ''
  local forks = call('SMEMBERS', P .. 'f:' .. id)
  return { id, name, gone, blob, counts[1] or '0', counts[2] or '0', removed, forks, line }
end

local function add(id)
  seen[id] = seen[id] or kin(id)
  return seen[id]
end

local descended = {}
for _, name in ipairs(cmsgpack.unpack(ARGV[2])) do
  local blob = call('HGET', P .. 'topics', name)
  local start = blob and id_of(blob) or call('HGET', P .. 'gone', name)
  local below = { start or nil }
  while #below > 0 do
    local id = table.remove(below)
    if not descended[id] then
      descended[id] = true
      for _, fork in ipairs(add(id)[8]) do below[#below + 1] = fork end
    end
  end
  local line = start and call('HGET', P .. 'lineage', start)
  if line then
    for _, ancestor in ipairs(cjson.decode(line)) do add(text(ancestor[1])) end
  end
end
for _, one in pairs(seen) do families[#families + 1] = one end
return { head(), rows, families }
