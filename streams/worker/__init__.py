"""The application: makes every part of a configuration, ties them together, runs them under Faust.

`app.py` brings all together. `making.py` and `protocols.py` make the parts; what they do is in `plane/` and `agents/`.
Before the start: `preflight.py`. While it runs: `reload.py` (terms), `pulse.py` (event loop), `restarts.py` (agents).
`budget_topic.py` is the fleet's log of the budget; `substitute.py` makes fallback records that no agent can make.
"""
