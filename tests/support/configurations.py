"""A configuration without a file."""

from __future__ import annotations

from bisupervised.streams.settings.broker import connection
from bisupervised.streams.settings.file import Configuration
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.settings.terms import terms_of


def configuration_of(settings: Settings) -> Configuration:
    """What reading these settings would have given; they name no thresholds file."""
    return Configuration(settings, connection(settings.kafka), terms_of(settings, None))
