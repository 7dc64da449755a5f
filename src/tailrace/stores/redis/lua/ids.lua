-- ids: Reserve ids of topics; answers the last of them.
--   ARGV[1]: how many
return { call('HINCRBY', P .. 'head', 'ids', ARGV[1]) }
