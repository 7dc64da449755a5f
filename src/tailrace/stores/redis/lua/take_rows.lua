-- take_rows: Put topics, or memories: commands, whose keys stand without the log's prefix.
--   ARGV[1]: the commands
local taken = copied_through()
if not taken then return { 'moved' } end
call('HSET', P .. 'head', 'copied', text(taken)) -- refused here, before anything, if Redis is out of memory
for _, command in ipairs(cmsgpack.unpack(ARGV[1])) do
  command[2] = P .. command[2]
  call(unpack(command))
end
return { 'done' }
