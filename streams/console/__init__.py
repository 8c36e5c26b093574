"""How commands speak with people: output, progress, Ctrl-C, exit codes, shared options.

Used by every command. What a command does, and what the worker logs, is elsewhere.
"""
