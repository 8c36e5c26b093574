"""Recordings: what both models said about the same inputs, read from files or off the topics of a running system.

What is computed from them is one folder up.
"""
