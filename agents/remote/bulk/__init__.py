"""The batch interfaces of providers: many questions in one order, answered within hours, for about half the price.

`provider.py` says what a provider must be able to do; each provider is a file beside it. What is called a batch in the
settings and by providers is `bulk` in the code, where a batch is already what the data plane hands out.
"""
