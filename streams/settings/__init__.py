"""What a configuration may say: tables and keys, where they are read from, what is wrong with them.

`tables.py` has every key; `file.py` reads them, once, with all that they name, into a `Configuration`. The policies
that parts take are made of it in `worker/making.py`. Nothing here runs anything.
"""
