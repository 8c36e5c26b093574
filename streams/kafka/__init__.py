"""How brokers are reached: the connection, errors in plain words, requests that the client lacks.

Every private part of aiokafka that the product reads or replaces is here, under `tests/contract/test_client.py`.
Nothing here knows settings, agents or what a record means.
"""
