"""The commands `record` and `fit`, as the command line has them. What they need is loaded when one is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from ...schemas.errors import ConfigurationError
from ..console.options import DONE, FAILED, Config, Json
from ..console.output import tell
from ..settings.file import load_configuration

_Switch = Annotated[bool, Parameter(negative="")]
_Money = Annotated[float | None, Parameter(validator=validators.Number(gte=0))]


def record(
    labelled: Path,
    /,
    *,
    config: Config = None,
    out: Path,
    labels: Path | None = None,
    truth_column: str | None = None,
    id_column: str | None = None,
    as_text: _Switch = False,
    local_only: _Switch = False,
    yes: _Switch = False,
    most_cost: _Money = None,
    json: Json = False,
) -> int:
    """Ask both models about every labelled input, and keep what they say: what thresholds are made from.

    Every input is checked before anything is paid, and what it can cost is said and asked. If the run is killed, the
    same command goes on from there. No broker is needed, and no thresholds.

    Parameters
    ----------
    labelled
        Inputs with their right answers: .csv, .jsonl or .parquet, or a folder of images.
    out
        File to write, ending in .jsonl.
    labels
        File with the right answers by id, where they do not stand beside the inputs; labels.csv in a folder of images.
    truth_column
        Column with the right answer.
    id_column
        Column of --labels with the id; for an image, its file's name.
    as_text
        Take every cell of a .csv as text; otherwise numbers, lists, true, false and null are read as JSON.
    local_only
        Ask the local model alone, which costs nothing.
    yes
        Do not ask whether it may be spent.
    most_cost
        What the recording may cost in all: no call is made that could exceed it, and nobody is asked.
    """
    if out.suffix != ".jsonl":
        raise ConfigurationError([f"--out: must end in .jsonl (got {str(out)!r})"])
    configuration = load_configuration(config, calibrated=False)
    from .run import Order
    from .run import record as make

    order = Order(labelled, out, labels, truth_column, id_column, as_text, local_only, yes, most_cost)
    made = make(configuration, order)
    tell(made.as_json(), (), made.lines(), as_json=json)
    return DONE if made.complete else FAILED
