"""The science of two supervisors: scores, thresholds and which answers are right, for stream and command line.

Pure functions over arrays; only `thresholds.py` touches a file. `supervisor.py` is the one comparison with a threshold.
Records are not known here: `local/` and `remote_supervisor.py` judge them with this.
"""
