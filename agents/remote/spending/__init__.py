"""What calls cost and what may be spent: prices, the budget of the fleet, one worker's part of it.

No I/O, no clock of its own. The topic that the fleet agrees in is `streams/worker/budget_topic.py`.
"""
