"""The log in Redis or Valkey, for many nodes: `RedisStore`.

`store` has the port's methods. An append is judged in Python by what the node knows (`facts`, `appending`, `kinship`)
and applied by one script that first compares what was relied upon (`request`, `lua/apply.lua`). `pages` reads, `hints`
listens to other nodes, `opening` looks at the server, `connection` talks to it. `lua/prelude.lua` lists the keys.
"""

from tailrace.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
