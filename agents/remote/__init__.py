"""The call to the remote model, in parts that are usable alone.

transport      bytes over HTTP; the only place that knows aiohttp's errors
credentials    a transport that adds the key, and takes it out of what comes back
protocol       inputs to bytes and bytes to answers: open_inference, openai_chat, tei, generic_json, and custom,
               which loads the user's own
templates      prompts and bodies with fields in them; json_paths find answers, samples joins several
sending        which fields may leave
retry          what is tried again, and when
client         one question with its retries
agent          records in, outcomes out
"""
