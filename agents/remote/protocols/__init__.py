"""The ways to speak to a remote, one file each. Adapters without I/O: inputs to bytes, bytes to answers.

`custom.py` loads the user's own; `templates.py` and `json_paths.py` are for those whose words the settings give.
What they have in common is `protocol.py`, a folder up; which settings make which is in `streams/worker/protocols.py`.
"""
