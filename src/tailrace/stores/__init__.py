"""Backends that keep a log, behind the port in `log/store.py`. Each passes `testing/store_contract.py`."""
