"""The commands on batches: which there are, what became of one, and to take one back.

They read the log of the batches. Who asks in batches is in `streams/bulk/`.
"""
