"""Equal inputs are paid once: answers that are kept, and calls under way that others wait for. One worker's memory.

Calls are made in `client.py`, a folder up; nothing here makes one.
"""
