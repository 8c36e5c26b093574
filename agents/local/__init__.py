"""The local agent: the small model, in a thread of its own, and its supervisor, which trusts or doubts its answers.

`model.py` loads the model; `formats/` reads the files and folders that it may be. `appetite.py` chooses how many inputs
the model gets at once. `dropout.py` asks a torch model with its dropout active. Scores and trust are in `supervision/`;
how outputs are read, those of both models, is in `answers.py`.
"""
