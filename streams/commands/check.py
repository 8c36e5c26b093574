"""`bisupervised check --connect`: tries broker, topics, model and remote, and says what it found.

Every check runs, also where an earlier one failed. What broker and remote say is in `check_kafka.py` and
`check_remote.py`; here is the model, and how it is told.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ...agents.importing import own_callable
from ...agents.remote.endpoint import shown_address
from ...schemas.errors import BiSupervisedError, ConfigurationError
from ..console.options import DONE, FAILED
from ..console.output import tell, working
from ..settings.own_functions import named_functions
from .findings import Finding, Level, as_document, fault, note, ok

if TYPE_CHECKING:
    from ..settings.file import Configuration
    from ..settings.tables import Settings

#: what a function of the user's own is about, by the table that names it
_ABOUT = {"local": "model", "request": "model", "remote": "remote", "audit": "audit"}
_STYLES: dict[Level, str] = {"ok": "green", "note": "yellow", "fault": "bold red"}


def run_check(configuration: Configuration, sampled: Sequence[Finding] = (), *, pay: bool, as_json: bool) -> int:
    """Look at everything, and tell, after what was found of a sample. The answer is the exit code: 0, or 1 where there
    is a fault.
    """
    # what they would say about a broker or a remote that is not well, the findings say better
    for speaking in ("aiokafka", "bisupervised.agents.remote", "bisupervised.agents.local"):
        logging.getLogger(speaking).addHandler(logging.NullHandler())
    hung: list[bool] = []
    findings = asyncio.run(_told(configuration, sampled, lambda: hung.append(True), pay=pay, as_json=as_json))
    if as_json:
        tell(as_document(findings), (), (), as_json=True)
    code = FAILED if any(finding.level == "fault" for finding in findings) else DONE
    if hung:  # a thread that hangs would keep this process from ending
        sys.stdout.flush()
        os._exit(code)
    return code


async def _told(
    configuration: Configuration,
    sampled: Sequence[Finding],
    on_hang: Callable[[], None],
    *,
    pay: bool,
    as_json: bool,
) -> list[Finding]:
    """Lines come as they are found; a document comes at the end."""
    console, findings = Console(highlight=False, soft_wrap=True), list(sampled)
    if not as_json:
        for finding in sampled:
            console.print(Text(finding.as_line(), style=_STYLES[finding.level]))
    with working("looking") as status:
        looking = look(configuration, on_hang, pay=pay, doing=lambda about: status.update(f"  {about}"))
        async for finding in looking:
            findings.append(finding)
            if not as_json:
                console.print(Text(finding.as_line(), style=_STYLES[finding.level]))
    return findings


async def look(
    configuration: Configuration,
    on_hang: Callable[[], None],
    *,
    pay: bool,
    doing: Callable[[str], object] = lambda _: None,
) -> AsyncIterator[Finding]:
    """All checks, one after the other; `doing` is told what is under way. With `pay`, one remote call is made."""
    from .check_kafka import look_at_broker, look_at_topics
    from .check_remote import look_at_remote
    from .check_sample import look_at_registry
    from .check_waits import look_at_shadows, look_at_waits

    yield look_at_waits(configuration.settings)
    for finding in look_at_shadows(configuration.settings):
        yield finding
    own = await asyncio.to_thread(look_at_own, configuration.settings)
    looks: tuple[tuple[str, Callable[[], AsyncIterator[Finding]]], ...] = (
        ("broker", lambda: look_at_broker(configuration)),
        ("topics", lambda: look_at_topics(configuration)),
        ("registry", lambda: look_at_registry(configuration.settings)),
        ("model", lambda: look_at_model(configuration, on_hang)),
        ("remote", lambda: look_at_remote(configuration.settings, pay=pay)),
    )
    for about, looked in looks:
        if lacking := [finding for finding in own if (finding.about, finding.level) == (about, "fault")]:
            for finding in lacking:  # it could only be told again
                yield finding
            continue
        doing(about)
        try:
            async for finding in looked():
                yield finding
        except Exception as error:  # noqa: BLE001  # whatever it is, the other checks go on
            yield fault(about, f"could not be looked at: {type(error).__name__}: {error}")
    for finding in own:
        if finding.about == "audit":
            yield finding


def look_at_own(settings: Settings) -> list[Finding]:
    """Whether each function of the user's own is there. Its module is imported for that; nothing of it is called."""
    return [_own(setting, name) for setting, name in named_functions(settings).items()]


def _own(setting: str, name: str) -> Finding:
    about = _ABOUT[setting.partition("]")[0].lstrip("[")]
    try:
        own_callable(name, setting)
    except ConfigurationError as error:
        return fault(about, error.faults[0])
    except Exception as error:  # noqa: BLE001  # a module may raise anything, and the others are told as well
        return fault(about, f"{setting}: {name!r} cannot be imported: {type(error).__name__}: {error}")
    return ok(about, f"{setting}: {name} is there")


async def look_at_model(configuration: Configuration, on_hang: Callable[[], None]) -> AsyncIterator[Finding]:
    """Load it as the worker would, and predict the warm-up inputs."""
    from ..worker.making import make_agent

    local, began = configuration.settings.local, time.monotonic()
    try:
        agent = await asyncio.to_thread(make_agent, configuration, "local", on_hang)
    except BiSupervisedError as error:
        for line in getattr(error, "faults", (str(error),)):
            yield fault("model", line)
        return
    if local.protocol:
        yield ok("model", f"is asked at {shown_address(local.url)}, by {local.protocol}")
    else:
        yield ok("model", f"{local.model} loads, in {time.monotonic() - began:.1f} s")
    inputs = local.warm_up
    if not inputs:
        yield note("model", "nothing was predicted: [local] warm_up holds no inputs")
        await agent.close()
        return
    try:
        await agent.warm_up()
        measured = agent.measurements()
        if trouble := measured.get("trouble"):
            yield fault("model", trouble)
            return
        yield ok("model", f"answers the inputs of [local] warm_up, {len(inputs)} in all")
        if why := measured.get("no_use"):
            yield note("model", f"an answer is of no use, so the remote would be asked: {why}")
    except Exception as error:  # noqa: BLE001  # a model may raise anything, and the other checks go on
        yield fault("model", f"fails on the inputs of [local] warm_up: {type(error).__name__}: {error}")
    finally:
        await agent.close()
