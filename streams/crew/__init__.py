"""Several processes behind one command: `bisupervised worker --processes N`.

`starting.py` turns the command into the small `parent.py`, which knows no Kafka, no settings and no model: `plan.py` is
all that it is told. It starts and ends the processes and shows one page for all. `member.py` is a worker's side of it.
"""
