-- tip: Where the log stands; `moved` if another process of Redis keeps it than before, or none.
if call('HGET', P .. 'head', 'run') ~= run_id() then return { 'moved' } end
return { 'head', head() }
