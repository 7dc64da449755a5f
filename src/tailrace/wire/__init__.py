"""Pure codecs between events and bytes: SSE, NDJSON, CloudEvents. No clock, no I/O, no `async`."""
