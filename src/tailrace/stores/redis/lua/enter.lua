-- enter: Come to a log, or make it. A log that another process of Redis kept, or that ends before what this node has
-- seen, begins a new epoch: what was written last may be gone, and what comes now is not taken for it.
--   ARGV: format, a new log's name, seconds since 1970, the epoch and the last position that this node has seen (or 0)
local format, log, now = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local seen_epoch, seen_last = tonumber(ARGV[4]), tonumber(ARGV[5])
local run = run_id()
local known = call('HMGET', P .. 'head', 'format', 'epoch', 'last', 'run', 'ends')
if not known[1] then
  call('HSET', P .. 'head', 'format', format, 'log', log, 'epoch', text(math.max(1, now, seen_epoch + 1)), 'last', '1',
    'recorded', '0', 'removed', '0', 'swept', '0', 'ids', '0', 'ends', '', 'run', run)
  return { 'head', head(), 1 }
end
if tonumber(known[1]) > format then return { 'newer', known[1] } end
local epoch, last = tonumber(known[2]), tonumber(known[3])
local lost = seen_epoch > epoch or (seen_epoch == epoch and seen_last > last)
if run ~= known[4] or lost then
  local ends = known[5] .. (known[5] == '' and '' or ',') .. text(epoch) .. ':' .. text(last)
  local following = math.max(epoch + 1, seen_epoch + 1, now)
  call('HSET', P .. 'head', 'epoch', text(following), 'ends', ends, 'run', run)
else
  call('HSET', P .. 'head', 'run', run) -- nothing changes, but a replica that only reads says so now
end
return { 'head', head(), 0 }
