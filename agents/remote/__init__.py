"""The call to the remote model, in parts that are usable alone.

transport      bytes over HTTP; the only place that knows aiohttp's errors
protocol       inputs to bytes and bytes to answers; open_inference is one
retry          what is tried again, and when
client         one question with its retries
agent          records in, outcomes out
"""
