"""Versions of the thresholds: rungs of one file, chosen while the fleet runs, in the order of the topic `thresholds`.

What is in force is a pure function of that topic (`fold.py`). Workers follow it, commands and the auditor append to it.
Nothing here judges a record, and nothing decides which rung is right.
"""
