"""A local model that is a server on this machine, asked by any of the remote's protocols.

Nothing here counts money, and nothing gives an input up because the server restarts: it waits.
"""
