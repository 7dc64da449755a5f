-- tell_producers: What is remembered of producers, topic by topic; and where to go on, or nothing.
--   ARGV: a topic's name, how far its producers were told ('0': this one is through), about how many
local name, cursor, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local TOPICS = 1000 -- topics that one step looks through
local found = {}

local function tell()
  local blob = call('HGET', P .. 'topics', name)
  if not blob then cursor = '0' return end
  repeat
    local step = call('HSCAN', P .. 'p:' .. id_of(blob), cursor, 'COUNT', 500)
    cursor = step[1]
    for i = 1, #step[2], 2 do found[#found + 1] = { name, step[2][i], step[2][i + 1] } end
  until cursor == '0' or #found >= limit
end

if cursor ~= '0' then tell() end
local more = true
if cursor == '0' and #found < limit then
  local next_names = call('ZRANGEBYLEX', P .. 'names', name == '' and '-' or '(' .. name, '+', 'LIMIT', 0, TOPICS)
  more = #next_names == TOPICS
  for i, one in ipairs(next_names) do
    name = one
    tell()
    if cursor ~= '0' or #found >= limit then
      more = more or i < #next_names or cursor ~= '0'
      break
    end
  end
end
return { found, more and { name, cursor } or {} }
