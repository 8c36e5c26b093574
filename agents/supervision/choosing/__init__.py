"""What is chosen from labelled answers besides two thresholds: the score, the learned score, the ladder, the plan.

Pure functions over arrays, as in the folder above, whose thresholds and curves they use. A worker needs none of this:
what it applies is in `learned/` and in the thresholds file.
"""
