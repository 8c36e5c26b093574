"""The local agent: the small model, loaded and asked in a thread of its own, and what its supervisor makes of it.

Scores and trust are in `supervision/`; how outputs are read, those of both models, is in `answers.py`.
"""
