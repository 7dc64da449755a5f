-- seek: The position of the newest event recorded before a moment, or 0, by halving: time rises with position.
--   ARGV[1]: the moment
local moment, low, high = tonumber(ARGV[1]), 0, tonumber(call('HGET', P .. 'head', 'last'))
while low < high do
  local middle = math.floor((low + high) / 2)
  local event = call('XRANGE', P .. 'log', text(middle + 1), '+', 'COUNT', 1)[1]
  if event and tonumber(string.match(event[1], '%d+$')) < moment then
    low = tonumber(string.match(event[1], '^%d+'))
  else
    high = middle
  end
end
return { head(), low }
