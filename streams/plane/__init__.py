"""The data plane: moves the records of one topic through one agent, and commits outcomes with progress.

Window, marks, caution, write-ahead, pacing and handing out decide without I/O; the others act.
It knows policies, never settings, and nothing of what agents decide.
"""
