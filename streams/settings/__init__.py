"""What a configuration may say: tables and keys, where they are read from, what is wrong with them.

`tables.py` has the tables, `keys/` the keys of each. `file.py` reads them, once, with all that they name, into a
`Configuration`. `worker/making.py` makes most policies of it, `broker.py` those of the broker, `terms.py` thresholds
and limits. Nothing here runs anything but what a module of the user's own runs when `own_functions.py` imports it.
"""
