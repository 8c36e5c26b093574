"""The commands `review` and `reviewers add`. What they need is loaded when one is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from ...schemas.errors import ConfigurationError
from ..audit.commands import audited
from ..console.options import DONE, Config
from ..console.output import progress_console
from ..console.signals import run_coroutine
from ..settings.file import load_settings

if TYPE_CHECKING:
    from ..settings.tables import Settings

ReviewersFile = Annotated[Path | None, Parameter(help="File with the reviewers, instead of [review] reviewers_file.")]


def review(
    *,
    config: Config = None,
    reviewers: ReviewersFile = None,
    fallback: Annotated[bool, Parameter(negative="")] = False,
    port: Annotated[int | None, Parameter(validator=validators.Number(gte=0, lte=65535))] = None,
) -> int:
    """Serve a page on which people label the drawn requests, one after the other, until Ctrl-C.

    What the models said is never shown. `bisupervised reviewers add NAME` lets a person in.

    Parameters
    ----------
    fallback
        Work through the topic `fallback` instead: what could not be answered.
    port
        Port to listen on, instead of [review] port; 0 takes a free one.
    """
    from .process import Offer, serve
    from .reviewers import read_reviewers

    settings = load_settings(config)
    faults: list[str] = []
    for check in (lambda: audited(settings), lambda: read_reviewers(_reviewers_file(settings, reviewers))):
        try:
            check()
        except ConfigurationError as error:
            faults += error.faults
    if faults:
        raise ConfigurationError(faults)
    path = _reviewers_file(settings, reviewers)
    run_coroutine(serve(settings, Offer(path, fallback, settings.review.port if port is None else port)))
    return DONE


def reviewers_add(name: str, /, *, config: Config = None, reviewers: ReviewersFile = None) -> int:
    """Let a person in: a name and a digest are added to the file of reviewers, and the token is printed, once.

    Whoever has the token labels as this person.

    Parameters
    ----------
    name
        Name of the person, which stands in every label.
    """
    from .reviewers import add_reviewer

    if reviewers is None and config is None:
        raise ConfigurationError(["--reviewers: names no file, such as --reviewers reviewers.txt"])
    settings = None if config is None else load_settings(config)
    path = reviewers if reviewers is not None or settings is None else _reviewers_file(settings, None)
    if path is None:
        raise ConfigurationError(["--reviewers: names no file, such as --reviewers reviewers.txt"])
    token = add_reviewer(path, name)
    port = 8100 if settings is None else settings.review.port
    console = progress_console()
    console.print(f"{name} is in {path}. This link lets {name} in. It is shown only now:", markup=False)
    print(f"http://127.0.0.1:{port}/#token={token}")  # noqa: T201  # the one thing to pass on
    return DONE


def _reviewers_file(settings: Settings, given: Path | None) -> Path:
    if given is not None:
        return given
    if not settings.review.reviewers_file:
        raise ConfigurationError(
            [
                "[review] reviewers_file: names no file of reviewers: set it, or say --reviewers reviewers.txt; "
                "`bisupervised reviewers add NAME --reviewers reviewers.txt` makes one"
            ]
        )
    return Path(settings.review.reviewers_file)
