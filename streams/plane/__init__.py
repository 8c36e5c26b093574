"""The data plane: moves the records of one topic through one agent, and commits outcomes with progress.

`window/`, `handing_out.py`, `pacing.py` and `state.py` decide without I/O; the others act.
It knows policies, never settings, and nothing of what agents decide.
"""
