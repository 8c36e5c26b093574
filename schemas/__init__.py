"""What travels: records, the codec, the error tree, the trace context, what workers write into the budget's topic.

`jsonschema.py` makes the JSON Schemas of these records. Imports nothing of ours.
"""
