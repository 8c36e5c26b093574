"""What is seen of a worker: counts, readiness, metrics, log format, traces.

It reads what planes and agents count, and changes nothing. The page is in `web/`.
"""
