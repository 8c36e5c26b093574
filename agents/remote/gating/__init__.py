"""Parts of the gate that are usable alone: the permit to make a call, and what the log hears of the remote.

Who waits at the gate, and for how long, is in `gate.py`, a folder up.
"""
