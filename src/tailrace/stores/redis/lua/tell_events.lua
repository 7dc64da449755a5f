-- tell_events: The next events of all topics that exist or live on in their forks, and those topics' names.
--   ARGV: the position to begin behind, how many events, how many bytes of data
local low, limit, bytes = tonumber(ARGV[1]) + 1, tonumber(ARGV[2]), tonumber(ARGV[3])
local LOOKED = 20000 -- events that one step looks through, when most are of deleted topics
local names, called, events, size, looked = {}, {}, {}, 0, 0
local count, exhausted, full = 16, false, false

local function known(id)
  if names[id] == nil then
    names[id] = call('HGET', P .. 'ids', id) or call('HGET', P .. 'kept', 'n' .. id) or false
    if names[id] then
      called[#called + 1] = id
      called[#called + 1] = names[id]
    end
  end
  return names[id]
end

while not (exhausted or full) and looked < LOOKED do
  local found, weight = call('XRANGE', P .. 'log', text(low), '+', 'COUNT', count), 1
  exhausted = #found < count
  for _, event in ipairs(found) do
    weight = weight + #event[2][2]
    if known(event[2][1]) then
      size = size + #event[2][2]
      full = #events == limit or (#events > 0 and size > bytes)
      if full then break end
      events[#events + 1] = event
    end
    low = tonumber(string.match(event[1], '^%d+')) + 1
  end
  looked = looked + #found
  if #found > 0 then count = math.max(1, math.min(500, math.floor(bytes / 4 / (weight / #found)))) end
end
return { head(), events, called, low - 1, exhausted and not full and 1 or 0 }
