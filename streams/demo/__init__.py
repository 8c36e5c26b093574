"""`bisupervised demo`: the whole job on an example, from requests to a report.

The embedded broker and the processes it starts are in `sandbox/`.
"""
