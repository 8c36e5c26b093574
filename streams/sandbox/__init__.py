"""What it takes to try the system on one machine: embedded broker, model server, processes, a run from end to end.

The demo, rehearsals, tests and benchmarks use it. No worker in production does.
"""
