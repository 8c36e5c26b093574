"""A configuration without a file, and the smallest file of one."""

from __future__ import annotations

from bisupervised.streams.settings.broker import connection
from bisupervised.streams.settings.file import Configuration
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.settings.terms import terms_of

#: what is required, and nothing else
SMALLEST = """
[local]
model = "my_model:load"
threshold = 0.9
[remote]
url = "http://127.0.0.1:8080"
model = "large"
threshold = 0.5
"""


def configuration_of(settings: Settings) -> Configuration:
    """What reading these settings would have given; they name no thresholds file."""
    return Configuration(settings, connection(settings.kafka), terms_of(settings, None))
