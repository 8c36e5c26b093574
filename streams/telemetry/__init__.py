"""What is seen of a worker: counts, readiness, metrics, log format, traces.

It reads what planes and agents count. `observation.py` counts outcomes, `monitor.py` measures the event loop, and
`release.py` tells the package's version. The page is in `web/`.
"""
