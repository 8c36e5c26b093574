"""What a worker shows over HTTP: the page, its data, health and metrics. Read only; everything else is refused.

Where the numbers come from is in `telemetry/`.
"""
