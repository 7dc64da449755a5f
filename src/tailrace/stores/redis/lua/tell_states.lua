-- tell_states: All that is known of names, in order: of living topics, and of those that have been.
--   ARGV: the name to begin behind, how many
local low, limit = ARGV[1] == '' and '-' or '(' .. ARGV[1], tonumber(ARGV[2])
local living = call('ZRANGEBYLEX', P .. 'names', low, '+', 'LIMIT', 0, limit)
local past = call('ZRANGEBYLEX', P .. 'past', low, '+', 'LIMIT', 0, limit)

-- `archive_rows.py: StateRow` reads it.
local function state(name)
  local blob = call('HGET', P .. 'topics', name) or ''
  local marks = {}
  for i, kind in ipairs({ 'removed', 'compacted', 'deleted' }) do marks[i] = call('ZSCORE', P .. kind, name) or '0' end
  local kept = ''
  if blob == '' then
    local gone = call('HGET', P .. 'gone', name)
    if gone then
      local found = call('HMGET', P .. 'kept', gone, 'm' .. gone)
      blob, kept = found[1], found[2]
    end
  end
  local counts = {}
  if blob ~= '' and kept == '' then counts = call('HMGET', P .. 'c:' .. id_of(blob), 'e', 's', 't', 'u', 'q') end
  return {
    name, blob, kept, marks[1], marks[2], marks[3],
    counts[1] or '0', counts[2] or '0', counts[3] or '0', counts[4] or '0', counts[5] or '',
  }
end

local function comes_first(one, other) -- byte by byte, as Redis has it: Lua's own order depends on the locale
  for i = 1, math.min(#one, #other) do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return a < b end
  end
  return #one < #other
end

local states, i, j = {}, 1, 1
while #states < limit and (living[i] or past[j]) do
  local name
  if living[i] == past[j] then
    name, i, j = living[i], i + 1, j + 1
  elseif not past[j] or (living[i] and comes_first(living[i], past[j])) then
    name, i = living[i], i + 1
  else
    name, j = past[j], j + 1
  end
  states[#states + 1] = state(name)
end
return states
