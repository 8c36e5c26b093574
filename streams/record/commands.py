"""The commands `record` and `fit`, as the command line has them. What they need is loaded when one is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from ...schemas.errors import ConfigurationError
from ..console.options import DONE, FAILED, Config, Json, NotNegative, Switch
from ..console.output import check_outputs, tell
from ..offline.target_options import TargetOptions
from ..settings.file import load_configuration

if TYPE_CHECKING:
    from ..settings.file import Configuration
    from .run import Order
    from .summary import Summary


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """Where the right answers are, and what asking may cost.

    Parameters
    ----------
    labels
        File with the right answers by id, where they do not stand beside the inputs; labels.csv in a folder of images.
    truth_column
        Column with the right answer.
    id_column
        Column of --labels with the id; for an image, its file's name.
    as_text
        Take every cell of a .csv as text; otherwise numbers, lists, true, false and null are read as JSON.
    yes
        Do not ask whether it may be spent.
    most_cost
        What the recording may cost in all: no call is made that could exceed it, and nobody is asked.
    """

    labels: Path | None = None
    truth_column: str | None = None
    id_column: str | None = None
    as_text: Switch = False
    yes: Switch = False
    most_cost: NotNegative | None = None

    def read(self, labelled: Path | None, config: Path | None) -> dict[str, Path | None]:
        """The files that are read, by what names them."""
        return {"the labelled file": labelled, "--labels": self.labels, "--config": config}

    def order(self, labelled: Path, out: Path, *, local_only: bool = False) -> Order:
        from .run import Order

        return Order(
            labelled,
            out,
            self.labels,
            self.truth_column,
            self.id_column,
            self.as_text,
            local_only,
            self.yes,
            self.most_cost,
        )


_USUAL, _ANY = InputOptions(), TargetOptions()


def record(
    labelled: Path,
    /,
    *,
    config: Config = None,
    out: Path,
    inputs: InputOptions = _USUAL,
    local_only: Switch = False,
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
    local_only
        Ask the local model alone, which costs nothing.
    """
    _check_name("--out", out)
    check_outputs({"--out": out}, inputs.read(labelled, config))
    made = _recorded(load_configuration(config, calibrated=False), inputs.order(labelled, out, local_only=local_only))
    tell(made.as_json(), (), made.lines(), as_json=json)
    return DONE if made.complete else FAILED


def fit(
    labelled: Path | None = None,
    /,
    *,
    config: Config = None,
    recording: Path | None = None,
    pairs: Path = Path("pairs.jsonl"),
    out: Path = Path("thresholds.json"),
    report: Path = Path("report.html"),
    inputs: InputOptions = _USUAL,
    targets: TargetOptions = _ANY,
    price: NotNegative | None = None,
    json: Json = False,
) -> int:
    """From a labelled file to both thresholds: record both models, choose the score, calibrate, and write a report.

    Without options it looks for a system that is as right as the remote alone, with as few calls as that takes, and
    that rejects at most 5 % of the right answers. If recording is killed, the same command goes on from there. Exit
    status 1 where the target is infeasible: the report is written all the same.

    Parameters
    ----------
    labelled
        Inputs with their right answers: .csv, .jsonl or .parquet, or a folder of images.
    recording
        What both models said, in place of asking them: a file of `record`, or of `recording`.
    pairs
        File that what both models say is kept in.
    out
        File for the thresholds.
    report
        File for the report, which a browser shows.
    price
        What one remote call costs; price_per_call of the configuration by default.
    """
    if labelled is None and recording is None:
        raise ConfigurationError(["name a labelled file, or a --recording"])
    if recording is None:
        _check_name("--pairs", pairs)
    kept = None if recording is not None else pairs
    read = {**inputs.read(labelled, config), "--recording": recording}
    check_outputs({"--pairs": kept, "--out": out, "--report": report}, read)
    configuration = load_configuration(config, calibrated=False)
    from .fit import Wanted, make_fit
    from .run import labelled_inputs

    usual_price = configuration.settings.remote.price_per_call
    options = targets.at(usual_price if price is None else price, usual=True)
    told: tuple[str, ...] = ()
    document = {}
    if recording is None and labelled is not None:
        made = _recorded(configuration, inputs.order(labelled, pairs))
        told, document = tuple(made.lines()), {"recording": made.as_json()}
        if not made.complete:
            tell(made.as_json(), (), told, as_json=json)
            return FAILED
    path = recording or pairs
    known = None if labelled is None else labelled_inputs(configuration.settings, inputs.order(labelled, path))
    fitted = make_fit(configuration, path, known, Wanted(options, targets.seed, targets.version, out, report))
    tell({**fitted.as_json(), **document}, fitted.tables(), [*told, *fitted.lines(config)], as_json=json)
    return DONE if fitted.fit.thresholds is not None else FAILED


def _recorded(configuration: Configuration, order: Order) -> Summary:
    from .run import record

    return record(configuration, order)


def _check_name(option: str, path: Path) -> None:
    if path.suffix != ".jsonl":
        raise ConfigurationError([f"{option}: must end in .jsonl (got {str(path)!r})"])
