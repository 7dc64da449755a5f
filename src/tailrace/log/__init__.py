"""The heart: one durable log, read by cursor. `log.py` is the page to start with, `store.py` the port below it."""
