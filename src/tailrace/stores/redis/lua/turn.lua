-- turn: Let one node write, and have the others wait for it; answers whether it is this one.
--   ARGV[1]: the node
--   ARGV[2]: for how many milliseconds at most
return { call('SET', P .. 'turn', ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0 }
