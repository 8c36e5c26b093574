"""The application: makes every part from the settings, ties them together, runs them under Faust.

What parts do is in `plane/` and `agents/`; what can change while it runs is in `reload.py`.
"""
