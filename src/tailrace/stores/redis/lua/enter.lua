-- enter: Come to a log, or make it. A log that another process of Redis kept, or that ends before what this node has
-- seen, begins a new epoch: what was written last may be gone, and what comes now is not taken for it.
--   ARGV: format, a new log's name, seconds since 1970, the epoch and the last position that this node has seen (or 0)
local format, log, now = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local seen_epoch, seen_last = tonumber(ARGV[4]), tonumber(ARGV[5])
local run = run_id()
local NODES = 100 -- of more than so many, those are forgotten that have not written for an hour
local FORGOTTEN_MS = 3600000
local ENDS = 1000 -- past epochs that are remembered; a cursor of an older one is a gap

if call('HLEN', P .. 'nodes') > NODES then
  local nodes = call('HGETALL', P .. 'nodes')
  for i = 1, #nodes, 2 do
    local batch = cmsgpack.unpack(nodes[i + 1])
    if batch[#batch] < now * 1000 - FORGOTTEN_MS then call('HDEL', P .. 'nodes', nodes[i]) end
  end
end
local known = call('HMGET', P .. 'head', 'format', 'epoch', 'last', 'run', 'ends')
if not known[1] then
  call('HSET', P .. 'head', 'format', format, 'log', log, 'epoch', text(math.max(1, now, seen_epoch + 1)), 'last', '1',
    'recorded', '0', 'removed', '0', 'swept', '0', 'ids', '0', 'ends', '', 'run', run)
  return { 'head', head(), 1 }
end
if tonumber(known[1]) > format then return { 'newer', known[1] } end
if call('HEXISTS', P .. 'head', 'copied') == 1 then return { 'copying', head() } end
local epoch, last = tonumber(known[2]), tonumber(known[3])
local lost = seen_epoch > epoch or (seen_epoch == epoch and seen_last > last)
if run ~= known[4] or lost then
  local past = {}
  for one in string.gmatch(known[5], '[^,]+') do past[#past + 1] = one end
  past[#past + 1] = text(epoch) .. ':' .. text(last)
  local ends = table.concat(past, ',', math.max(1, #past - ENDS + 1))
  local following = math.max(epoch + 1, seen_epoch + 1, now)
  call('HSET', P .. 'head', 'epoch', text(following), 'ends', ends, 'run', run)
else
  call('HSET', P .. 'head', 'run', run) -- nothing changes, but a replica that only reads says so now
end
return { 'head', head(), 0 }
