"""Recording: both models of a configuration are asked about labelled inputs, without Kafka, and what they say is kept.

`labelled.py` reads and checks the inputs, `asking.py` asks with the worker's own parts, `pairs.py` keeps the answers so
that a killed run goes on where it was, `paying.py` says what it can cost. What is made of a recording is in `offline/`.
"""
