"""The report of a fit: one HTML file with the curve to drag, the scores, the mistakes and the promise.

The tables are made here, in Python; the script in `static/` only looks them up. Thresholds are not chosen here.
"""
