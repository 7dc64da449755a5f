"""One log, many sockets: connections that ask the same are served together."""
