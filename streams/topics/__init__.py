"""The topics as a broker has them: making them, asking about them, reading them to their end.

What each topic is for, and who reads and writes it, is in `flow.py`.
"""
