-- take_end: The copy is a log from now on.
--   ARGV: epoch, last position, recorded time, past epochs
local run = run_id()
if not copied_through() then
  local at = call('HMGET', P .. 'head', 'epoch', 'last', 'ends', 'run', 'copied')
  if at[1] == ARGV[1] and at[2] == ARGV[2] and at[3] == ARGV[4] and at[4] == run and not at[5] then return { 'done' } end
  return { 'moved' }
end
local highest = call('ZREVRANGE', P .. 'removed', 0, 0, 'WITHSCORES')[2] or '0'
call('HSET', P .. 'head', 'epoch', ARGV[1], 'last', ARGV[2], 'recorded', ARGV[3], 'ends', ARGV[4], 'removed', highest,
  'run', run)
call('HDEL', P .. 'head', 'copied')
call('UNLINK', P .. 'copying', P .. 'copyforks')
return { 'done' }
