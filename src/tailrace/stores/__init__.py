"""Backends that keep a log, behind the port in `log/store.py`. Each passes `testing/store_contract/`.

They do not know each other, but for those that keep files of SQLite; what those that speak SQL share is in `tables/`.
"""
