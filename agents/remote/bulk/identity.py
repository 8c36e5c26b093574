"""Names that a provider hears: of a batch, and of each input in it."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import NamedTuple

from msgspec import json

from ....schemas.records import Facts

_CUSTOM_ID = re.compile(r"b(\d{1,9})-(\d{1,18})-([A-Za-z0-9_-]{16})")


class Place(NamedTuple):
    """Where an input lies in `batched`."""

    partition: int
    offset: int


def batch_id(pipeline: str, topic_id: str, partition: int, first: int, end: int) -> str:
    """The name of a batch: whose it is, and which range of which topic."""
    return f"{pipeline}/{partition}/{first}-{end}/{_digest([topic_id], 6)}"


def custom_id(pipeline: str, topic_id: str, place: Place, facts: Facts) -> str:
    """The name of an input in a batch, 16 to 46 characters: where it lies, and a digest that no other pipeline, topic
    or request shares.
    """
    source = facts.source
    about = [pipeline, topic_id, facts.topic_id, source.topic, source.partition, source.offset, *place]
    return f"b{place.partition}-{place.offset}-{_digest(about, 12)}"


def place_in(name: str) -> Place | None:
    """Where the input of this name lies; None where it is no name of ours."""
    found = _CUSTOM_ID.fullmatch(name)
    return None if found is None else Place(int(found[1]), int(found[2]))


def _digest(about: list[object], size: int) -> str:
    return urlsafe_b64encode(blake2b(json.encode(about), digest_size=size).digest()).decode().rstrip("=")
