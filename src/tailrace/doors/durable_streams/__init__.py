"""The Durable Streams protocol over the log: a stream is a topic. `streams.py` says which addresses there are."""
