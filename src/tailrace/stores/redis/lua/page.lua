-- page: A page of events, and what else is true of its moment (`pages.py: Answer` reads it).
--   ARGV[1]: what is asked (`pages.py: Question`)
local q = cmsgpack.unpack(ARGV[1])
local low, high = q.after + 1, math.min(q.before - 1, LAST)
local CHUNK = 64 -- positions of an index, and events of the log, that are fetched at a time
local MARKS = 20000 -- marks that a page tells at most, the newest

local topics, names, sources, line = {}, {}, {}, ''
local function add_source(key, from, to)
  if from <= to then sources[#sources + 1] = { key = key, low = from, high = to, at = 0, chunk = {} } end
end

for i, name in ipairs(q.names) do
  local blob = call('HGET', P .. 'topics', name) or ''
  local id, tail = blob ~= '' and id_of(blob), '0'
  if id then
    tail = call('HGET', P .. 'c:' .. id, 't') or '0'
    if q.mode == 'names' then names[id] = name end
    if #q.names == 1 then line = call('HGET', P .. 'lineage', id) or '' end
    if q.mode == 'names' and line == '' then add_source(P .. 'i:' .. id, low, high) end
  end
  local marks = { call('ZSCORE', P .. 'removed', name) or '0', call('ZSCORE', P .. 'compacted', name) or '0' }
  topics[i] = { name, blob, tail, marks[1], marks[2], call('ZSCORE', P .. 'deleted', name) or '0' }
end

-- Whoever is forked shows the events of those it descends from, each up to where it began.
local inherited = {}
if line ~= '' and not q.own then
  q.mode = 'names'
  for i, one in ipairs(cjson.decode(line)) do
    local id = text(one[1])
    names[id] = one[2]
    add_source(P .. 'i:' .. id, low, math.min(high, one[3]))
    local mark = call('HGET', P .. 'kept', 'm' .. id)
    if not mark and call('HGET', P .. 'ids', id) then mark = call('ZSCORE', P .. 'removed', one[2]) end
    inherited[i] = { text(one[3]), text(one[4]), mark or '0' }
  end
elseif line ~= '' and q.mode == 'names' then
  add_source(P .. 'i:' .. id_of(topics[1][2]), low, high)
end

-- A pattern that few names can match is read topic by topic; all others by looking through everything.
if q.mode == 'ranges' then
  local found = {}
  for _, range in ipairs(q.ranges) do
    local some = call('ZRANGEBYLEX', P .. 'names', range[1], range[2], 'LIMIT', 0, q.most + 1 - #found)
    for _, name in ipairs(some) do found[#found + 1] = name end
    if #found > q.most then break end
  end
  if #found > q.most then
    q.mode = 'whole'
  else
    for _, name in ipairs(found) do
      local id = id_of(call('HGET', P .. 'topics', name))
      if not names[id] then add_source(P .. 'i:' .. id, low, high) end
      names[id] = name
    end
  end
end
if q.mode == 'tag' then add_source(P .. 'g:' .. q.tag, low, high) end

-- ---- one after the other ----

local whole = { at = 0, chunk = {}, size = CHUNK, done = low > high }
local function next_of_log()
  if whole.at == #whole.chunk then
    if whole.done then return nil end
    local found = q.backwards and call('XREVRANGE', P .. 'log', text(high), text(low), 'COUNT', whole.size)
      or call('XRANGE', P .. 'log', text(low), text(high), 'COUNT', whole.size)
    if #found < whole.size then whole.done = true end
    if #found == 0 then return nil end
    local edge, size = tonumber(string.match(found[#found][1], '^%d+')), 1
    for _, event in ipairs(found) do size = size + #event[2][2] end
    if q.backwards then high = edge - 1 else low = edge + 1 end
    if low > high then whole.done = true end
    whole.at, whole.chunk = 0, found
    whole.size = math.max(1, math.min(500, math.floor(q.bytes / 2 / (size / #found))))
  end
  whole.at = whole.at + 1
  return whole.chunk[whole.at]
end

local function candidate(source)
  if source.at == #source.chunk then
    if source.done then return nil end
    source.chunk = index_range(source.key, source.low, source.high, CHUNK, q.backwards)
    source.at = 0
    if #source.chunk < CHUNK then source.done = true end
    if #source.chunk == 0 then return nil end
    local edge = tonumber(source.chunk[#source.chunk])
    if q.backwards then source.high = edge - 1 else source.low = edge + 1 end
  end
  return tonumber(source.chunk[source.at + 1])
end

local function next_of_sources()
  local best, position
  for _, source in ipairs(sources) do
    local one = candidate(source)
    if one and (not position or (q.backwards and one > position) or (not q.backwards and one < position)) then
      best, position = source, one
    end
  end
  if not best then return nil end
  best.at = best.at + 1
  return event_at(best.chunk[best.at]) or next_of_sources()
end

local following = q.mode == 'whole' and next_of_log or next_of_sources
local events, size, exhausted = {}, 0, 0
while true do
  local event = following()
  if not event then exhausted = 1 break end
  size = size + #event[2][2]
  if #events == q.limit or (#events > 0 and size > q.bytes) then break end
  events[#events + 1] = event
end

-- ---- what else is true ----

local called = {}
for id, name in pairs(names) do
  called[#called + 1] = id
  called[#called + 1] = name
end
if q.mode == 'whole' or q.mode == 'tag' then -- a topic that was deleted has no name
  local asked = {}
  for _, event in ipairs(events) do
    local id = event[2][1]
    if asked[id] == nil then
      asked[id] = call('HGET', P .. 'ids', id) or false
      if asked[id] then
        called[#called + 1] = id
        called[#called + 1] = asked[id]
      end
    end
  end
end
local marks = {}
for i, kind in ipairs(q.marks) do
  marks[i] = call('ZREVRANGEBYSCORE', P .. kind, '+inf', '(' .. text(q.since), 'WITHSCORES', 'LIMIT', 0, MARKS)
end
local info = q.info ~= '' and row(q.info) or ''
return { head(), events, exhausted, called, topics, inherited, marks, info }
