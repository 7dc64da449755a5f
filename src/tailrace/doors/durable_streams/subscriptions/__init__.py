"""Subscriptions of the Durable Streams door: durable cursors that wake workers (PROTOCOL.md sections 6 and 7).

Read in this order: `state.py` (what one is, pure), `records.py` (it lives in the log), `service.py` (what callers do),
`waking.py` and `dispatcher.py` (what is done by itself), `courier.py` and `urls.py` (webhooks), `routes.py`.
"""
