"""Commands over recorded predictions: what a user asks before the first paid call."""
