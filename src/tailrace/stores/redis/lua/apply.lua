-- apply: One batch of a node, that was judged by what the node knew. What it relied upon is compared first; if any of
-- it has changed since, nothing is done, and the answer says what. A batch that was done before is answered again.
--   ARGV[1]: what to compare and to write (`request.py: Request`)
--   ARGV[2]: its events, as other nodes are told them (`request.py: Told`); offsets count from the end of the log
--   ARGV[3]: their data and attributes, one after the other
local q = cmsgpack.unpack(ARGV[1])
local known = call('HGET', P .. 'nodes', q.node)
if known then
  known = cmsgpack.unpack(known)
  if known[1] == q.number and known[2] == 'done' then return { 'done', known[3], known[4], known[5] } end
  if known[1] >= q.number then return { 'late' } end
end

-- Another node was behind too often, and has asked for its turn.
local turn = call('GET', P .. 'turn')
if turn and turn ~= q.node then return { 'wait' } end

local at = call('HMGET', P .. 'head', 'epoch', 'last', 'recorded', 'swept', 'run')
if not at[1] or at[5] ~= run_id() then return { 'moved' } end
local epoch, base, recorded, swept = tonumber(at[1]), tonumber(at[2]), tonumber(at[3]), tonumber(at[4])
if epoch == q.epoch and base < q.last then return { 'moved' } end

local differ = {}
for i, check in ipairs(q.checks) do
  local kind, key = check[1], P .. check[2]
  local found
  if kind == 'h' then found = call('HGET', key, check[3])
  elseif kind == 's' then found = call('GET', key)
  else found = call('ZSCORE', key, check[3]) end
  if (found or '') ~= check[4] then differ[#differ + 1] = { i - 1, found or '' } end
end
local moved = (q.exact and base ~= q.last) or (q.swept >= 0 and swept ~= q.swept)
if epoch ~= q.epoch or moved or #differ > 0 then
  call('HSET', P .. 'nodes', q.node, cmsgpack.pack({ q.number, 'refused', q.now }))
  return { 'conflict', head(), differ }
end

-- Nothing is refused any more. The first command is one that Redis refuses if it is out of memory.
recorded = math.max(recorded, q.now)
call('HSET', P .. 'head', 'last', text(base + q.taken), 'recorded', text(recorded))

local tails = {}
for i, id in ipairs(q.named) do
  tails[i] = { number(call('HGET', P .. 'c:' .. id, 't')), 0 }
  if q.closed[id] then
    tails[i][2] = number(index_range(P .. 'i:' .. id, 0, LAST, 1, true)[1])
  end
end

for _, command in ipairs(q.commands) do
  command[2] = P .. command[2]
  call(unpack(command))
end

local stamp = '-' .. text(recorded)
local told = q.events > 0 and cmsgpack.unpack(ARGV[2]) or { {}, {}, {} }
local ends, at_offset = 0, {}
for _, event in ipairs(told[2]) do
  local position = text(base + event[2])
  local place, start, middle = position .. stamp, ends + 1, ends + event[3]
  at_offset[event[2]] = position
  ends = middle + event[4]
  if event[4] == 0 then
    call('XADD', P .. 'log', place, event[1], string.sub(ARGV[3], start, middle))
  else
    call('XADD', P .. 'log', place, event[1], string.sub(ARGV[3], start, middle),
      'm', string.sub(ARGV[3], middle + 1, ends))
  end
end

local function placed(offsets)
  local positions = {}
  for i, offset in ipairs(offsets) do positions[i] = at_offset[offset] end
  return positions
end

for _, topic in ipairs(q.topics) do
  local id, size, offsets = topic[1], topic[2], topic[3]
  local key = P .. 'c:' .. id
  if #offsets > 0 then
    local counts = call('HMGET', key, 'e', 's')
    for from = 1, #offsets, SLICE do
      index_add(P .. 'i:' .. id, placed({ unpack(offsets, from, math.min(#offsets, from + SLICE - 1)) }))
    end
    call('HSET', key, 'e', text(number(counts[1]) + #offsets), 's', text(number(counts[2]) + size),
      't', text(base + offsets[#offsets]))
  end
end
for _, use in ipairs(q.used) do
  local key, moment = P .. 'c:' .. use[1], use[3]
  if number(call('HGET', key, 'u')) < moment then call('HSET', key, 'u', text(moment)) end
  call('ZADD', P .. 'deadlines', 'GT', text(use[4]), use[2])
end
for _, tag in ipairs(q.tags) do
  for from = 1, #tag[2], SLICE do
    index_add(P .. 'g:' .. tag[1], placed({ unpack(tag[2], from, math.min(#tag[2], from + SLICE - 1)) }))
  end
end
for _, one in ipairs(q.expiring) do call('ZADD', P .. 'x:' .. one[1], text(one[3]), text(base + one[2])) end

-- A new position is an offset; one that was known before is negative; 0 is none.
local function absolute(position) return text(position > 0 and base + position or -position) end
for _, memory in ipairs(q.memories) do
  local value = memory[4] .. ':' .. absolute(memory[5]) .. ':' .. absolute(memory[6])
  if memory[3] == '' then
    call('SET', P .. memory[1], value, 'PX', memory[2])
  else
    call('HSET', P .. memory[1], memory[3], value)
  end
end

call('HSET', P .. 'nodes', q.node, cmsgpack.pack({ q.number, 'done', base, recorded, tails, q.now }))
if turn then call('DEL', P .. 'turn') end
if q.taken > 0 then
  local asked = q.sharded and 'SHARDNUMSUB' or 'NUMSUB'
  local listening = q.cluster and not q.sharded and LAST or call('PUBSUB', asked, P .. 'hints')[2]
  if listening > q.listeners then
    local what = { q.node, text(epoch), text(base), text(base + q.taken), text(recorded), #ARGV[2] }
    tell(q.sharded, what, q.hint and ARGV[2] .. ARGV[3] or '')
  end
end
return { 'done', base, recorded, tails }
