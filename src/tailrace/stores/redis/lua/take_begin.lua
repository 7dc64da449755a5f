-- take_begin: Begin to take a copy of another log, or go on; answers how far its events were taken.
--   ARGV: format, and of the other log: epoch, last position, recorded time, past epochs
local known = call('HMGET', P .. 'head', 'epoch', 'last', 'ends', 'copied')
local run = 'copy:' .. run_id()
if known[4] then
  local taken = tonumber(known[4])
  if known[1] ~= ARGV[2] or known[3] ~= ARGV[5] or taken > tonumber(ARGV[3]) then return { 'other' } end
  call('HSET', P .. 'head', 'run', run)
  return { 'taken', taken }
end
local BIRTH = 1
if number(known[2]) > BIRTH or call('EXISTS', P .. 'log', P .. 'names', P .. 'past') > 0 then return { 'holds' } end
call('HSET', P .. 'head', 'format', ARGV[1], 'epoch', ARGV[2], 'last', text(BIRTH), 'recorded', ARGV[4], 'ends', ARGV[5],
  'removed', '0', 'swept', '0', 'run', run, 'copied', '0') -- ids go on: a node may have reserved some
return { 'taken', 0 }
