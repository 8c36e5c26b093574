"""How outcomes and progress leave, and what is known of progress: outbox, routing, the group's coordinator.

`outbox.py` has the only commit of a partition. Producers, transactions and their endings are in `kafka/`.
When and what to send is decided one folder up.
"""
