"""The keys of the configuration: what each means, its default and its bounds, a class for each table of the file.

`../tables.py` says which tables there are. What single values must look like is in `values.py`. Keys that must fit each
other are judged in `../fit.py`, not here.
"""
