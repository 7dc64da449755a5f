-- tell_gather: Note where first answers to keys and ids stand, each once: Redis may show a key more than once.
--   ARGV: a name for the notes, how far it was looked, how many keys of Redis to look at
local NOTED_SECONDS = 3600 -- the notes of a copy that was given up go after so long
local notes = P .. 'told:' .. ARGV[1]
local step = call('SCAN', ARGV[2], 'MATCH', P .. '[kd]:*', 'COUNT', ARGV[3])
for _, key in ipairs(step[2]) do call('ZADD', notes, '0', string.sub(key, #P + 1)) end
call('EXPIRE', notes, NOTED_SECONDS)
return { step[1] }
