"""How outcomes and progress leave, and what is known of progress: outbox, routing, the group's coordinator.

Every commit of progress in the data plane goes through `outbox.py`. Only `kafka/last_transaction.py` commits besides:
it ends the last transaction once more. Producers and transactions are in `kafka/`.
When and what to send is decided one folder up.
"""
