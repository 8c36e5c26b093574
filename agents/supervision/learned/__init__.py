"""The learned score of a local answer: plain numbers, and how they are applied. The worker needs this and nothing more.

`deferral.py` holds the numbers, `logistic.py` the regression that they come from. How they are fitted, and whether they
earn their place, is in `choosing/`. Nothing here touches a file or knows a record.
"""
