"""Commands about the audit of a promise: labels and the report, from topics; and a simulation, from recordings.

The science is in `agents/auditing`.
"""
