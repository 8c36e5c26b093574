"""Recordings: what both models answered to the same inputs, read from files or from the topics of a running system.

What is computed from them is one folder up.
"""
