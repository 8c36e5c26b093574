"""Commands over recorded predictions: curve, calibration, rehearsal, rejudging, the paper's tables.

What a recording is, and how one is read, is in `recordings/`. The science is in `agents/supervision`.
"""
