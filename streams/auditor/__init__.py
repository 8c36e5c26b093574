"""One auditor in the fleet: reads `audits` and `labels`, and says in `trust` whether the promise is still true.

`membership.py` finds out who it is, `auditor.py` follows the topics and closes, `taking_over.py` goes on from the last
closing, `trust.py` appends closings and reads them, `feed.py` reads the other two, `rules.py` knows the promises. What
is reckoned is in `agents/auditing/ledger`. It runs in a worker and stops none: what fails is logged, and begins again.
"""
