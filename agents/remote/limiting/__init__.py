"""How much may be asked, and whether to ask at all: this worker's share of the fleet's limits, its pace, the breaker.

No I/O, no clock of its own, and nothing of ours is imported. Where calls wait for their turn is `gate.py`, a folder up.
"""
