"""The one real question of `check --connect --pay`, asked as a worker asks, and tried once."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...agents.remote.asking import Bill
from ...agents.remote.client import RemoteClient
from ...agents.remote.endpoint import shown_address
from ...agents.remote.gate import Gate
from ...schemas.errors import RecordError
from ..console.output import counted
from ..worker.making import client_policy
from .findings import Finding, fault, ok
from .remote_address import called_path, input_to_ask

if TYPE_CHECKING:
    from ...agents.remote.meter import Meter
    from ...agents.remote.protocol import RemoteProtocol
    from ...agents.remote.transport import Transport
    from ..settings.keys.remote import RemoteSettings
    from ..settings.tables import Settings

#: longest piece of an answer that is shown, characters
_ANSWER_CHARS = 200


async def ask_once(transport: Transport, protocol: RemoteProtocol, settings: Settings) -> Finding:
    """Ask about the first input of the warm-up; show the answer, its score, and what it took."""
    remote, bill = settings.remote, Bill()
    if not settings.local.warm_up:
        return fault("remote", "no call was made: [local] warm_up holds no input to ask about")
    policy = client_policy(remote)
    # nobody waits: a remote that refuses every call would be waited for as a worker waits, for hours
    gate, once = Gate(waits=False), replace(policy, retry=replace(policy.retry, tries=1))
    client = RemoteClient(transport, protocol, once, gate=gate)
    path = called_path(settings, protocol)
    where = f" (asked: {shown_address(remote.url + path)})" if path is not None else ""
    try:
        (answer,) = await client.ask([input_to_ask(settings)], f"check-{uuid.uuid4().hex}", None, bill)
    except RecordError as error:
        return fault("remote", f"{counted(bill.calls, 'call')} made, no answer: {error.reason}: {error}{where}")
    made = "one call was" if bill.calls == 1 else f"{bill.calls} calls were"
    score = "no score" if answer.score is None else f"the score {answer.score}"
    said = f"answers {_shown(answer.prediction)} with {score}, in {answer.latency_ms:.0f} ms"
    cost = f"; it cost {bill.cost:g}" if _priced(remote) else ""
    return ok("remote", f"{made} made: it {said}; {_usage(client.meter)}{cost}")


def _shown(prediction: Any) -> str:  # noqa: ANN401  # any JSON value
    text = repr(prediction)
    return text if len(text) <= _ANSWER_CHARS else f"{text[:_ANSWER_CHARS]}…"


def _usage(meter: Meter) -> str:
    read, written = (meter.tokens[kind] for kind in ("input", "output"))
    if not read.count:
        return "it tells no usage"
    return f"{counted(round(read.total), 'token')} read and {round(written.total):,} written"


def _priced(remote: RemoteSettings) -> bool:
    by_token = remote.price_per_million_prompt_tokens or remote.price_per_million_completion_tokens
    return bool(remote.price_per_call or by_token)
