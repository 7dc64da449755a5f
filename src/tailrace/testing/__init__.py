"""Public helpers for tests: the exam for stores, and a server on a free port."""
