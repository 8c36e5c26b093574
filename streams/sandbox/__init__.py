"""Everything for a try on one machine: embedded broker, model server, processes, a run seen from outside.

The demo, rehearsals, tests and benchmarks use it. No worker in production does.
"""
