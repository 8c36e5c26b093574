"""What runs: the data plane on Kafka, the worker around the agents, the command line.

Each folder is a wing and says what lives there; `flow.py` says who reads and writes what. What decides is in `agents/`.
"""
