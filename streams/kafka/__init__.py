"""How brokers are reached: connections, records, senders, the requests that the client lacks, errors in plain words.

`last_transaction.py` ends the last transaction once more, as it ended.
Every private part of aiokafka that the product reads or replaces is here, under `tests/contract/test_client.py`.
Nothing here knows settings, agents or what a record means.
"""
