-- sweep: Remove what a topic no longer keeps; its marks are raised in the same step.
--   ARGV[1]: what is asked (`sweeping.py: Asked`)
local q = cmsgpack.unpack(ARGV[1])
if (call('HGET', P .. 'topics', q.name) or '') ~= q.blob then return { 'changed' } end
local id = id_of(q.blob)
local counts_key = P .. 'c:' .. id
local counts = call('HMGET', counts_key, 'e', 's', 'r')
local events, size, compared = number(counts[1]), number(counts[2]), number(counts[3])
local COMPARED = 2000 -- the most events whose keys one step compares
call('HSET', counts_key, 'e', text(events)) -- refused here, before anything, if Redis is out of memory

local removed, bytes, more = 0, 0, false
local function remove(position)
  local length = remove_event(id, position)
  if not length then return false end
  removed, bytes, events, size = removed + 1, bytes + length, events - 1, size - length
  return true
end
local function mark(kind, position)
  if position > number(call('ZSCORE', P .. kind, q.name)) then call('ZADD', P .. kind, text(position), q.name) end
end

if q.compact then
  local looked = index_range(P .. 'i:' .. id, compared + 1, LAST, COMPARED, false)
  more = #looked == COMPARED
  for _, position in ipairs(looked) do
    if removed == q.budget then more = true break end
    compared = tonumber(position)
    local event = event_at(position)
    local meta = event and event[2][4] and cmsgpack.unpack(event[2][4])
    if meta and meta.k then
      local older = call('HGET', P .. 'n:' .. id, meta.k)
      call('HSET', P .. 'n:' .. id, meta.k, position)
      if older and remove(older) then mark('compacted', tonumber(older)) end
    end
  end
end

if not more and removed < q.budget then
  local over = call('ZRANGEBYSCORE', P .. 'x:' .. id, '-inf', text(q.now), 'LIMIT', 0, q.budget - removed)
  for _, position in ipairs(over) do
    if remove(position) then mark('compacted', tonumber(position)) end
  end
end

local function too_old(position)
  local event = event_at(position)
  return event and tonumber(string.match(event[1], '%d+$')) < q.oldest
end
while not more and removed < q.budget do
  local oldest = index_range(P .. 'i:' .. id, 0, LAST, math.min(100, q.budget - removed), false)
  if #oldest == 0 then break end
  local enough = false
  for _, position in ipairs(oldest) do
    local much = (q.max_events >= 0 and events > q.max_events) or (q.max_bytes >= 0 and size > q.max_bytes)
    if not (much or (q.oldest >= 0 and too_old(position))) then enough = true break end
    remove(position)
    mark('removed', tonumber(position))
    local highest = number(call('HGET', P .. 'head', 'removed'))
    if tonumber(position) > highest then call('HSET', P .. 'head', 'removed', position) end
  end
  if enough then break end
end

call('HSET', counts_key, 'e', text(events), 's', text(size), 'r', text(compared))
if removed > 0 then call('HINCRBY', P .. 'head', 'swept', 1) end
local through = math.max(number(call('ZSCORE', P .. 'removed', q.name)), number(call('ZSCORE', P .. 'compacted', q.name)))
if removed > 0 then
  local at = call('HMGET', P .. 'head', 'epoch', 'last')
  local payload = cmsgpack.pack({ {}, {}, { { q.name, through - at[2] } } })
  local what = { q.node, at[1], at[2], at[2], '0', #payload }
  tell(q.sharded, what, payload)
end
return { 'swept', removed, bytes, through, (more or removed == q.budget) and 1 or 0 }
