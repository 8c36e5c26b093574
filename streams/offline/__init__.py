"""Commands over recorded predictions: curve, calibration, rehearsal, rejudging, the paper's tables.

What a recording is, and how one is read, is in `recordings/`. The science is in `agents/supervision`.
`rejudge.py`, `rewriting.py` and `recordings/from_topics.py` with `system_topics.py` read a running system's topics.
"""
