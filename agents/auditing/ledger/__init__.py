"""What an auditor knows: a pure function of the topics `audits` and `labels` and of how closings cut them.

`ledger.py` takes records in and closes. `memory.py` holds what is not settled yet, `tally.py` what is known of one
version of the thresholds, `watch.py` the alarm of one promise. The records are in `schemas/closings.py`; who reads and
writes the topics is in `streams/auditor`.
"""
