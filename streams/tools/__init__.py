"""Commands for people on a running system: put requests in, watch outcomes, replay what fell back.

`job.py` is one run of a named job, exactly once. Commands over recordings are in `offline/`.
"""
