"""The application: makes every part of a configuration, ties them together, runs them under Faust.

`app.py` is where all comes together; `making.py` makes the parts. What they do is in `plane/` and `agents/`. What can
change while it runs is in `reload.py`.
"""
