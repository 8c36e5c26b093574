"""The three pipelines of the drift example: alike but for their `[audit]`, on one broker, with one remote model."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..digits import LABELS, ModelFiles
from ..pipeline import PRICE, Pipeline, start_pipeline

#: share of the requests that is audited
SHARE = 1.0
#: seconds between two closings of an auditor, at least
_CLOSE_EVERY_S = 0.5
_IN_FLIGHT = 64
_TOPICS = (
    "requests",
    "doubtful",
    "answers",
    "results",
    "fallback",
    "audits",
    "labels",
    "trust",
    "thresholds",
    "shadows",
    "budget",
    "batched",
    "batches",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a pipeline does about a promise that may be broken."""

    name: str
    says: str  #: what it does, in a sentence
    audited: bool = False
    tightens: bool = False

    def audit(self, secret: Path) -> str:
        """Its `[audit]`."""
        if not self.audited:
            return ""
        tightens = f'shadow_share = {SHARE}\non_alarm = "tighten"\n' if self.tightens else 'on_alarm = "tell"\n'
        return f"""
[audit]
share = {SHARE}
secret_file = {json.dumps(str(secret))}
close_every_s = {_CLOSE_EVERY_S}
{tightens}"""


KINDS = (
    Kind("fixed", "The thresholds stay as they were calibrated, and nobody labels anything."),
    Kind("told", "People label audited requests. An alarm says so, and changes nothing.", audited=True),
    Kind(
        "tightened",
        "On an alarm it takes stricter thresholds by itself, and laxer ones when labels allow it.",
        audited=True,
        tightens=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Around:
    """What all pipelines share."""

    servers: str  #: of the broker
    url: str  #: of the remote model
    models: ModelFiles
    thresholds: Path  #: their file, with the ladder


def start_system(kind: Kind, around: Around, folder: Path, processes: ExitStack) -> Pipeline:
    """Make the topics of a pipeline and start its worker. Configuration and log go into a folder of its own."""
    own = folder / kind.name
    own.mkdir(parents=True, exist_ok=True)
    secret = own / "audit.key"
    secret.touch(0o600)
    secret.write_text(os.urandom(16).hex())
    return start_pipeline(own, toml_of(kind, around, secret), processes)


def toml_of(kind: Kind, around: Around, secret: Path) -> str:
    """The configuration, as a user would write it. JSON's strings and lists are TOML's too."""
    labels = json.dumps(LABELS)
    topics = "\n".join(f'{name} = "{kind.name}-{name}"' for name in _TOPICS)
    return f"""\
# One of the three pipelines of the drift example, made anew by each run.
name = "{kind.name}"

[kafka]
bootstrap_servers = {json.dumps(around.servers)}

[topics]
{topics}
partitions = 1

[local]
model = {json.dumps(str(around.models.local))}
labels = {labels}
output = "logits"

[remote]
url = {json.dumps(around.url)}
model = "digits"
labels = {labels}
output = "probabilities"
batch_size = 1  # a call is an input, which makes the bill easy to read
batch_wait_ms = 0
in_flight = {_IN_FLIGHT}
price_per_call = {PRICE}

[web]
image_shape = [8, 8]  # an input is a flat list of grey levels

[thresholds]
file = {json.dumps(str(around.thresholds))}
{kind.audit(secret)}"""
