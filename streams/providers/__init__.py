"""Ready tables `[remote]` for providers and servers: `bisupervised config --remote NAME`.

Each is a file in `static/`, from the public documentation that it names, with prices left to fill in. What the keys
mean is said in `settings/`; that each speaks as its provider wants is tested in `tests/contract/test_providers.py`.
"""
