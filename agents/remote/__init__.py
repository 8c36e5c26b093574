"""The call to the remote model, in parts that are usable alone.

Only agent, client, credentials, gate, reuse and transport wait.
Limits are in `limiting/`, parts of the gate in `gating/` and of the client in `calling/`, money in `spending/`, equal
inputs in `reusing/`, each server's language in `protocols/`.
Nothing here judges an answer: `remote_supervisor.py` does. Nothing here knows a topic: the data plane does.
"""
