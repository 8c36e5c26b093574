"""`bisupervised review`: a page on which people label requests, a process of its own.

Which input comes next is decided in `queue.py`, without I/O. What votes mean is in `agents/auditing`.
"""
