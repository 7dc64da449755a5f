-- What every script begins with. All keys of a log begin as KEYS[1] does, `{prefix}:head`, and lie in its hash slot.
--
--   head            hash     format, log, epoch, last, recorded, removed, swept, run, ends, ids; copied while it is filled
--   log             stream   every event: <position>-<recorded_at>, its topic's id → its data, m → its attributes
--   topics          hash     name → <id>:<JSON> of each topic that exists
--   ids             hash     id → name of each topic that exists
--   names           zset     the same names, in order
--   past            zset     names of topics that were deleted, in order
--   deadlines       zset     name → when its time is up
--   removed, compacted, deleted  zsets  name → mark, of topics that are or have been
--   gone            hash     name → id of topics that live on in their forks
--   kept            hash     the same by id: <id>, n<id>, m<id> → its row, its name, its mark
--   lineage         hash     id → what a fork inherits from whom, itself first
--   orphans         list     ids of deleted topics whose events are still to be removed
--   nodes           hash     node → its last batch and what came of it
--   copying, copyforks  hash, zset  of an unfinished copy: name → id, ids of forks by birth
--   told:<name>     zset     of a log that is copied: where its first answers stand
--   c:<id>          hash     of a topic: e(vents), s(ize), t(ail), u(sed at), q (stream_seq), r (compared through)
--   i:<id>, g:<tag> index    positions of a topic's, or a tag's, events
--   x:<id>, n:<id>  zset, hash  position → expires_at; key → its newest position
--   p:<id>          hash     producers of a topic
--   f:<id>          set      ids of its forks
--   k:…, d:…        strings  first answers to Idempotency-Keys and event ids, which Redis lets go when the window is over
local P = string.sub(KEYS[1], 1, -5)
local call = redis.call
local INDEX_SMALL = 128 -- positions of an index that Redis keeps as one packed set (zset-max-listpack-entries)
local SLICE = 1000 -- arguments of one command

-- Lua knows doubles alone: they are exact up to 2^53, but not as Lua or Redis print them.
local format = string.format
local function text(number) return format('%d', number) end

local function number(value) return tonumber(value or 0) or 0 end

-- The process that keeps the log: another one may know less.
local function run_id() return string.match(call('INFO', 'server'), 'run_id:(%w+)') end

-- How far a copy has come that is put here by way of this process of Redis; nil if there is none.
local function copied_through()
  local at = call('HMGET', P .. 'head', 'copied', 'run')
  return at[1] and at[2] == 'copy:' .. run_id() and tonumber(at[1]) or nil
end

-- An index is a set of rising positions: small ones a zset (16 bytes a position), large ones a stream (11 bytes).
local function index_add(key, positions)
  local kind = call('TYPE', key).ok
  if kind ~= 'stream' and #positions + (kind == 'zset' and call('ZCARD', key) or 0) > INDEX_SMALL then
    local known = kind == 'zset' and call('ZRANGE', key, 0, -1) or {}
    call('DEL', key)
    for _, position in ipairs(known) do call('XADD', key, position .. '-0', '', '') end
    kind = 'stream'
  end
  if kind == 'stream' then
    for _, position in ipairs(positions) do call('XADD', key, position .. '-0', '', '') end
    return
  end
  local pairs_of = {}
  for _, position in ipairs(positions) do
    pairs_of[#pairs_of + 1] = position
    pairs_of[#pairs_of + 1] = position
  end
  call('ZADD', key, unpack(pairs_of))
end

-- At most `count` positions between two, both included, as texts.
local function index_range(key, low, high, count, backwards)
  if low > high then return {} end
  local from, to, kind = text(low), text(high), call('TYPE', key).ok
  if kind == 'zset' then
    if backwards then return call('ZREVRANGEBYSCORE', key, to, from, 'LIMIT', 0, count) end
    return call('ZRANGEBYSCORE', key, from, to, 'LIMIT', 0, count)
  end
  if kind ~= 'stream' then return {} end
  local found = backwards and call('XREVRANGE', key, to, from, 'COUNT', count)
    or call('XRANGE', key, from, to, 'COUNT', count)
  local positions = {}
  for i, entry in ipairs(found) do positions[i] = string.match(entry[1], '^%d+') end
  return positions
end

local function index_remove(key, position)
  local kind = call('TYPE', key).ok
  if kind == 'zset' then
    call('ZREM', key, position)
  elseif kind == 'stream' then
    call('XDEL', key, position .. '-0')
    if call('XLEN', key) == 0 then call('DEL', key) end
  end
end

local LAST = 9007199254740991 -- beyond every position

local function event_at(position) return call('XRANGE', P .. 'log', position, position, 'COUNT', 1)[1] end

-- Remove one event from everywhere; answers the size of its data, or nil if it was not there.
local function remove_event(id, position)
  local event = event_at(position)
  if not event then return nil end
  call('XDEL', P .. 'log', event[1])
  index_remove(P .. 'i:' .. id, position)
  if event[2][4] then
    local meta = cmsgpack.unpack(event[2][4])
    for _, tag in ipairs(meta.g or {}) do index_remove(P .. 'g:' .. tag, position) end
    if meta.x then call('ZREM', P .. 'x:' .. id, position) end
  end
  return #event[2][2]
end

-- Tell other nodes; in a cluster over the log's own hash slot (`sharded`, from Redis 7 on), else over all servers.
local function tell(sharded, header, payload)
  local channel, message = P .. 'hints', table.concat(header, ' ') .. '\n' .. payload
  if sharded then call('SPUBLISH', channel, message) else call('PUBLISH', channel, message) end
end

local function id_of(blob) return string.match(blob, '^%d+') end

-- What is known of a topic: `rows.py: Row` reads it.
local function row(name)
  local blob = call('HGET', P .. 'topics', name) or ''
  local marks = {
    call('ZSCORE', P .. 'removed', name) or '0',
    call('ZSCORE', P .. 'compacted', name) or '0',
    call('ZSCORE', P .. 'deleted', name) or '0',
  }
  if blob == '' then
    local gone = call('HGET', P .. 'gone', name) or ''
    return { name, blob, gone, '0', '0', '0', '0', marks[1], marks[2], marks[3], '', '' }
  end
  local id = id_of(blob)
  local counts = call('HMGET', P .. 'c:' .. id, 'e', 's', 't', 'u')
  local first = index_range(P .. 'i:' .. id, 0, LAST, 1, false)[1] or ''
  local last = index_range(P .. 'i:' .. id, 0, LAST, 1, true)[1] or ''
  return {
    name, blob, '', counts[1] or '0', counts[2] or '0', counts[3] or '0', counts[4] or '0',
    marks[1], marks[2], marks[3], first, last,
  }
end

-- Where the log stands: `rows.py: Head` reads it.
local function head()
  local known = call('HMGET', P .. 'head', 'epoch', 'last', 'recorded', 'removed', 'swept', 'ends')
  return { known[1] or '', known[2] or '', known[3] or '', known[4] or '', known[5] or '', known[6] or '' }
end
