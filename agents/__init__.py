"""What decides: models, supervisors, calibration and the remote call. Plain classes that know no Kafka.

An agent takes consumed records and returns one outcome for each, in order. All three have the same shape:

    local               Local.decide              requests -> results | doubtful | fallback
    remote              Remote.answer             doubtful -> answers | results | fallback
    remote supervisor   RemoteSupervisor.judge    answers  -> results | fallback

Imports `schemas` only. Fetching, sending and committing are the data plane's; `agents.py` ties the two together.
"""
