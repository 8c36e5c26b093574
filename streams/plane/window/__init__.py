"""One partition's records between fetch and commit: slots, leases, key order, marks, caution, write-ahead, batches.

Everything here decides without I/O and without a clock of its own, so that every order of events can be tried on it.
When a window is committed, and to whom records go, is decided one folder up.
"""
