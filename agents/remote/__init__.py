"""The call to the remote model, in parts that are usable alone. None but transport, client and gate waits for anything.

transport      bytes over HTTP; the only place that knows aiohttp's errors
credentials    a transport that adds the key, and takes it out of what comes back
protocol       what a protocol is: inputs to bytes, bytes to answers; each has its file in `protocols/`
samples        several answers to one question, and their agreement
sending        which fields may leave
batching       which inputs go into one call
rate_headers   what response headers say of the server's limits
pace           how a worker spends its share of one limit: evenly
limits         requests and tokens a minute, calls in flight: this worker's share of the fleet's
breaker        whether to call at all
gate           limits and breaker decide, calls wait here for their turn
retry          classes of errors; what is tried again, and when
client         one question with its retries and its deadline
agent          records in, outcomes out
"""
