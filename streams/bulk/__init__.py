"""The remote asked in batches: who owns a partition of `batched` fills batches, and writes what becomes of them.

`membership.py` finds out which partitions are ours, `owner.py` takes one over, `filling.py` fills batches, `life.py`
takes one to its end. What they do is in the log `batches` before it is done. What decides is in `agents/remote/bulk`.
"""
