"""The pure part: values and rules. No clock, no I/O, no `async`; what time it is comes in as an argument."""
