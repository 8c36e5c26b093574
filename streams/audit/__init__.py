"""Commands about the audit of a promise. The simulation says what an audit will see, before anybody labels.

The science is in `agents/auditing`.
"""
