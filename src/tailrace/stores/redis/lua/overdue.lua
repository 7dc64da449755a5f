-- overdue: Topics whose time is up.
--   ARGV: now, how many
return call('ZRANGEBYSCORE', P .. 'deadlines', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
