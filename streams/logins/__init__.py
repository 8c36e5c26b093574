"""Tokens to log in at a broker with: SASL's OAUTHBEARER.

Where a token comes from (a token endpoint, a file, a function of the user's own) and when the next one is due. Which of
these the settings want is decided in `settings/broker.py`; what a connection does with a token is aiokafka's.
"""
