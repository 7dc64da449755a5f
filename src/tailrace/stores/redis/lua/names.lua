-- names: Topics in order of name, deleted ones left out.
--   ARGV: from, to (as ZRANGEBYLEX has it), how many
local rows = {}
for i, name in ipairs(call('ZRANGEBYLEX', P .. 'names', ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])) do rows[i] = row(name) end
return rows
