"""From the settings to what reads the events: `[request]` and `[registry]`.

Which parts of a request mean what, and how its bytes become a document, is decided here once, for the worker and for
every command. How bytes are read is in `agents/events`; who reads and writes which topic is in `flow.py`.
"""
