-- take_events: Put the next events. Those that were taken before are passed over.
--   ARGV[1]: what to put (`archive_rows.py: EventRows`); ARGV[2]: data and attributes, one after the other
local q, taken = cmsgpack.unpack(ARGV[1]), copied_through()
if not taken then return { 'moved' } end
local ids = {}
for i, name in ipairs(q.topics) do
  ids[i] = call('HGET', P .. 'copying', name)
  if not ids[i] then return { 'unknown', name } end
end
local newest = q.events[#q.events][2]
if newest <= taken then return { 'done' } end
call('HSET', P .. 'head', 'copied', text(newest)) -- refused here, before anything, if Redis is out of memory

local places, ends = {}, 0
for _, event in ipairs(q.events) do
  local id, start, middle = ids[event[1]], ends + 1, ends + event[4]
  ends = middle + event[5]
  if event[2] > taken then
    local position = text(event[2])
    local place = position .. '-' .. text(event[3])
    if event[5] == 0 then
      call('XADD', P .. 'log', place, id, string.sub(ARGV[2], start, middle))
    else
      call('XADD', P .. 'log', place, id, string.sub(ARGV[2], start, middle), 'm', string.sub(ARGV[2], middle + 1, ends))
    end
    places[id] = places[id] or {}
    table.insert(places[id], position)
  end
end
for id, positions in pairs(places) do index_add(P .. 'i:' .. id, positions) end
for _, tag in ipairs(q.tags) do
  local positions = {}
  for _, position in ipairs(tag[2]) do
    if position > taken then positions[#positions + 1] = text(position) end
  end
  if #positions > 0 then index_add(P .. 'g:' .. tag[1], positions) end
end
for _, one in ipairs(q.expiring) do
  if one[2] > taken then call('ZADD', P .. 'x:' .. ids[one[1]], text(one[3]), text(one[2])) end
end
return { 'done' }
