"""Keys that are right alone and cannot work together, a line for each pair.

Most are two numbers in an order, and stand in one table of rules. The others have a function each. What does not fit
the protocol of the remote is in `fit_protocol.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from ...agents.answers import unfit
from ...agents.local.model import is_folder
from ...agents.supervision.arbitration import JOINT
from ...agents.supervision.learned.deferral import LEARNED
from .fit_batch import unfit_for_batches
from .keys.certificates import REACHED
from .keys.events import FIELDLESS, OF_REGISTRY
from .keys.local import LocalSettings
from .keys.protocols import bounds_answers
from .place import Place
from .reaching import reaching_faults
from .secret import variable
from .tables import Settings

#: hours of the longest period of each kind
PERIOD_HOURS = {"hour": 1, "day": 24, "week": 7 * 24, "month": 31 * 24}
#: who decides what a setting of the local model leaves open
_DECIDED = {
    "device": ": it decides",
    "threads": ": it decides",
    "dtype": ": only a folder can be read in another",
    "features": ": a server puts out none",
}
_TOPIC_ROLES = (
    "requests",
    "doubtful",
    "answers",
    "results",
    "fallback",
    "budget",
    "audits",
    "labels",
    "shadows",
    "trust",
    "thresholds",
    "batched",
    "batches",
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Two settings that must agree. Keys in `_ms` and `_hours` are compared in seconds."""

    subject: Place
    holds: Callable[[float, float], bool]
    text: str  #: how the subject must stand to the other
    other: Place


def _none_or_at_least(value: float, least: float) -> bool:
    return not value or value >= least


_RULES = (
    # a worker that is slower to join than to be given up could never join
    _Rule(("kafka", "session_timeout_s"), operator.le, "at most", ("kafka", "rebalance_timeout_s")),
    # the worker must not give up before its request does
    _Rule(("stream", "watchdog_s"), operator.gt, "above", ("kafka", "request_timeout_s")),
    # what waits for the remote must not be deleted meanwhile
    _Rule(("topics", "retention_hours"), operator.gt, "longer than", ("remote", "terminal_cool_down_s")),
    _Rule(("topics", "retention_hours"), operator.gt, "longer than", ("remote", "deadline_s")),
    _Rule(("audit", "retention_hours"), operator.gt, "longer than", ("audit", "label_within_hours")),
    _Rule(("stream", "fetch_records"), operator.le, "at most", ("stream", "window_records")),
    _Rule(("stream", "drain_s"), operator.lt, "below", ("kafka", "rebalance_timeout_s")),
    _Rule(("topics", "min_insync_replicas"), operator.le, "at most", ("topics", "replication_factor")),
    _Rule(("stream", "window_bytes"), operator.ge, "at least", ("topics", "max_message_bytes")),
    _Rule(("stream", "commit_interval_ms"), operator.lt, "below", ("stream", "transaction_timeout_s")),
    _Rule(("local", "batch_size"), operator.le, "at most", ("stream", "window_records")),
    _Rule(("local", "batch_wait_ms"), operator.lt, "below", ("local", "predict_timeout_s")),
    _Rule(("remote", "batch_size"), operator.le, "at most", ("stream", "window_records")),
    _Rule(("remote", "batch_wait_ms"), operator.lt, "below", ("remote", "timeout_s")),
    _Rule(("remote", "deadline_s"), operator.ge, "at least", ("remote", "timeout_s")),
    # a worker has its partitions' share of these, and needs at least one call
    _Rule(("remote", "in_flight"), operator.ge, "at least", ("topics", "partitions")),
    _Rule(("remote", "requests_per_minute"), _none_or_at_least, "0 or at least", ("topics", "partitions")),
    _Rule(("remote", "terminal_cool_down_s"), operator.ge, "at least", ("remote", "breaker_cool_down_s")),
    _Rule(("remote", "backoff_first_s"), operator.le, "at most", ("remote", "backoff_most_s")),
)


def contradictions(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """Settings that are right alone and cannot work together. Those in `faulty` are reported already."""
    broken = [rule for rule in _RULES if not {rule.subject, rule.other} & faulty and not _holds(rule, settings)]
    return (
        [_broken(rule, settings) for rule in broken]
        + _unfit_scores(settings, faulty)
        + _shared_topics(settings, faulty)
        + _shared_output(settings, faulty)
        + _nothing_fitted(settings)
        + _unknown_costs(settings, faulty)
        + _longer_than_kept(settings, faulty)
        + _shared_fields(settings)
        + _events(settings, faulty)
        + _labels(settings)
        + _placed(settings, faulty)
        + _audit(settings, faulty)
        + _versions(settings, faulty)
        + _shared_header(settings)
        + _reaching(settings, faulty)
        + unfit_for_batches(settings, faulty)
    )


# the rules


def _holds(rule: _Rule, settings: Settings) -> bool:
    left, right = (_value(settings, place) * _unit_s(place[1]) for place in (rule.subject, rule.other))
    return rule.holds(left, right)


def _value(settings: Settings, place: Place) -> float:
    value: float = getattr(getattr(settings, place[0]), place[1])
    return value


def _unit_s(key: str) -> float:
    if key.endswith("_ms"):
        return 1 / 1000
    return 3600 if key.endswith("_hours") else 1


def _broken(rule: _Rule, settings: Settings) -> str:
    (table, key), (other_table, other_key) = rule.subject, rule.other
    other = other_key if other_table == table else f"[{other_table}] {other_key}"
    left, right = _value(settings, rule.subject), _value(settings, rule.other)
    return f"[{table}] {key}: must be {rule.text} {other} (got {left} and {right})"


# scores and costs


def _unfit_scores(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """Scores that cannot be computed of what the model gives."""
    local, remote = settings.local, settings.remote
    found = (
        {}
        if local.supervisor == LEARNED or local.protocol not in ("", "open_inference")
        else {"local": _unfit_local(local)}
    )
    if remote.protocol == "open_inference":  # the others have no [remote] output
        found["remote"] = unfit(remote.output, remote.own_score, 1, remote.temperature)
    return [
        f"[{table}] {key}: {text}"
        for table, faults in found.items()
        if not {(table, name) for name in ("output", "supervisor", "samples", "temperature")} & faulty
        for key, text in faults
    ]


def _unfit_local(local: LocalSettings) -> list[tuple[str, str]]:
    return unfit(local.output, local.supervisor, local.samples, local.temperature, features=local.features)


def _nothing_fitted(settings: Settings) -> list[str]:
    """All are fitted on labelled data, and what is fitted stands in the thresholds file."""
    if settings.thresholds.file:
        return []
    # a model may call its own score so
    learned = settings.local.supervisor == LEARNED and settings.local.output != "scored"
    written = "what `bisupervised calibrate --out FILE` wrote"
    faults = [f"[local] supervisor: needs a learned score: name in [thresholds] file {written}"] * learned
    needing = {"supervisor": settings.remote.supervisor == JOINT, "arbitration": settings.remote.arbitration}
    return faults + [
        f"[remote] {key}: needs a joint model: name in [thresholds] file what `bisupervised calibrate --joint "
        "--arbitration --out FILE` wrote"
        for key, needed in needing.items()
        if needed
    ]


def _unknown_costs(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """A budget of money needs to know before a call what it can cost at most."""
    remote, budget = settings.remote, settings.budget
    prices = ("price_per_call", "price_per_million_prompt_tokens", "price_per_million_completion_tokens")
    keys = {("budget", "money"), *(("remote", name) for name in (*prices, "most_answer_tokens"))}
    if not budget.money or keys & faulty:
        return []
    if not any(getattr(remote, name) for name in prices):
        return [f"[budget] money: needs a price: set [remote] {' or '.join(prices)}"]
    bounded = remote.most_answer_tokens or bounds_answers(remote.protocol)
    if remote.price_per_million_completion_tokens and not bounded:
        return ["[remote] most_answer_tokens: is missing: [budget] money must know what a call can cost at most"]
    if budget.money < remote.price_per_call:
        got = f"(got {budget.money} and {remote.price_per_call})"
        return [f"[budget] money: must be at least [remote] price_per_call {got}"]
    return []


# names that must differ


def _longer_than_kept(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What waits for the next period of the budget must not be deleted meanwhile."""
    budget, kept = settings.budget, settings.topics.retention_hours
    if not budget.limited or budget.when_spent != "wait" or {("budget", "per"), ("topics", "retention_hours")} & faulty:
        return []
    waits = PERIOD_HOURS[budget.per]
    if kept > waits:
        return []
    return [
        f'[budget] when_spent: with "wait" and per = "{budget.per}" a record waits for up to {waits} hours, and '
        f"[topics] retention_hours = {kept:g} keeps it no longer: raise that (and retention.ms of the "
        "topics), or take another when_spent"
    ]


def _shared_topics(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """A topic with two roles would be read by those whom it is not for."""
    first: dict[str, str] = {}
    shared = []
    for role in (role for role in _TOPIC_ROLES if ("topics", role) not in faulty):
        name = getattr(settings.topics, role)
        if name in first:
            shared.append(f"[topics] {role}: must differ from {first[name]} (got {name!r} for both)")
        first.setdefault(name, role)
    return shared


def _shared_output(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """One tensor cannot hold both the predictions and their scores."""
    remote = settings.remote
    if remote.output != "scored" or {("remote", "output_name"), ("remote", "score_output")} & faulty:
        return []
    same = remote.score_output == remote.output_name
    return [f"[remote] score_output: must differ from output_name (got {remote.score_output!r} for both)"] * same


def _shared_fields(settings: Settings) -> list[str]:
    """A field of a request cannot be two things. '' is no field, and `input = ''` the whole value."""
    request = settings.request
    fields = (("id", request.id, "input"), ("deadline_ms", request.deadline_ms, "input"))
    shared = [(key, name, other) for key, name, other in fields if name and name == request.input]
    if request.deadline_ms and request.deadline_ms == request.id:
        shared.append(("deadline_ms", request.deadline_ms, "id"))
    return [f"[request] {key}: must differ from {other} (got {name!r} for both)" for key, name, other in shared]


def _events(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What the bytes of requests are, and what reading them takes."""
    request, registry = settings.request, settings.registry
    if ("request", "format") in faulty:
        return []
    faults = [
        f"[request] {key}: must be '' with format = \"{request.format}\", which has no fields"
        for key in ("input", "id", "deadline_ms")
        if request.format in FIELDLESS and getattr(request, key)
    ]
    if request.format in FIELDLESS and settings.remote.send:
        faults.append(f'[remote] send: must be empty with [request] format = "{request.format}", which has no fields')
    formats = {"request": request.format, "results": settings.results.format}
    needing = {table: name for table, name in formats.items() if name in OF_REGISTRY}
    if not needing:
        idle = f'[registry] url: has no use with [request] format = "{request.format}"'
        return faults + [idle] * bool(registry.url)
    if not registry.url and ("registry", "url") not in faulty:
        named = " and ".join(f'[{table}] format = "{name}"' for table, name in needing.items())
        faults.append(f"[registry] url: is missing, and {named} needs a schema registry")
    needs = "needs the extra `registry`: pip install 'bisupervised[registry]'"
    for table, name in needing.items():
        if find_spec("fastavro" if name == "avro" else "grpc_tools") is None:
            faults.append(f'[{table}] format: "{name}" {needs}')
    return faults


def _labels(settings: Settings) -> list[str]:
    """Names of classes, each once, where there are classes."""
    tables = (("local", settings.local.labels), ("remote", settings.remote.labels))
    faults = [
        f"[{table}] labels: must differ from each other" for table, labels in tables if len(set(labels)) < len(labels)
    ]
    if (
        settings.local.labels
        and not settings.local.protocol
        and settings.local.output not in ("logits", "probabilities")
    ):
        faults.append(f'[local] labels: have no use with output = "{settings.local.output}", which has no classes')
    return faults


def _placed(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """A callable says itself where it computes; a folder is read by transformers, and puts out logits."""
    local = settings.local
    if ("local", "model") in faulty:
        return []
    folder, own = not local.protocol and is_folder(local.model), bool(local.protocol) or ":" in local.model
    unused = {"device": own, "threads": own, "dtype": not folder, "features": bool(local.protocol)}
    faults = [
        f"[local] {key}: has no use with model = {local.model!r}{_DECIDED[key]}"
        for key, is_unused in unused.items()
        if is_unused and getattr(local, key) != LocalSettings.model_fields[key].default
    ]
    if folder and local.output != "logits" and ("local", "output") not in faulty:
        faults.append(f'[local] output: must be logits: a folder puts out no others (got "{local.output}")')
    return faults


def _audit(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """An audit draws by a secret, and writes in the transaction of the outcome."""
    audit = settings.audit
    if not audit.on or {("audit", "share"), ("audit", "shadow_share")} & faulty:
        return []
    faults, key = [], "share" if audit.share else "shadow_share"
    if audit.secret is None and not audit.secret_file:
        faults.append(f"[audit] {key}: needs a secret: set {variable(('audit', 'secret'))}, or secret_file")
    if settings.stream.delivery != "exactly_once":
        faults.append(f'[audit] {key}: needs [stream] delivery = "exactly_once": no outcome without its audit')
    return faults + (_shadows(settings, faulty) if audit.shadow_share else [])


def _shadows(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """The remote is asked about trusted inputs, too, in time and with money of their own."""
    audit, budget = settings.audit, settings.budget
    faults = []
    if audit.shadow_share < audit.share:
        got = f"(got {audit.shadow_share:g} and {audit.share:g})"
        faults.append(f"[audit] shadow_share: must be 0 or at least share, whose requests it includes {got}")
    if audit.shadow_within_hours >= settings.topics.retention_hours:
        got = f"(got {audit.shadow_within_hours:g} and {settings.topics.retention_hours:g})"
        faults.append(f"[audit] shadow_within_hours: must be below [topics] retention_hours {got}")
    if ("audit", "budget_share") in faulty:
        return faults
    parts = (audit.budget_share, 1 - audit.budget_share)
    if budget.calls and min(int(budget.calls * part) for part in parts) < 1:
        got = f"(got {audit.budget_share:g} of {budget.calls})"
        faults.append(f"[audit] budget_share: must leave a call of [budget] calls to each side {got}")
    if budget.money and min(budget.money * part for part in parts) < settings.remote.price_per_call:
        got = f"(got {audit.budget_share:g} of {budget.money:g})"
        faults.append(f"[audit] budget_share: must leave the price of a call of [budget] money to each side {got}")
    return faults


def _versions(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """Rungs are those of a file, and the auditor knows by its labels which one to take."""
    thresholds, audit = settings.thresholds, settings.audit
    tightens = audit.on_alarm == "tighten" and ("audit", "on_alarm") not in faulty
    wants = {
        "[thresholds] follow": thresholds.follow,
        "[thresholds] pin": bool(thresholds.pin),
        "[audit] on_alarm": tightens,
    }
    unfiled = not thresholds.file and ("thresholds", "file") not in faulty
    faults = [f"{key}: needs [thresholds] file, whose rungs are chosen from" for key, on in wants.items() if on]
    faults = faults if unfiled else []
    if tightens and not audit.share and ("audit", "share") not in faulty:
        faults.append('[audit] on_alarm: "tighten" needs [audit] share: without labels there is no alarm')
    if tightens and audit.share and not audit.shadow_share and ("audit", "shadow_share") not in faulty:
        text = "what stricter thresholds would have done is not known without the remote's answer"
        faults.append(f'[audit] on_alarm: "tighten" needs [audit] shadow_share, at least {audit.share:g}: {text}')
    return faults + _alarm_share(settings, faulty)


def _alarm_share(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """The share of audits is part of a version, and only who tightens makes versions."""
    audit, keys = settings.audit, {("audit", key) for key in ("alarm_share", "share", "on_alarm")}
    if not audit.alarm_share or keys & faulty:
        return []
    faults = []
    if audit.on_alarm != "tighten":
        text = "the share rises with the stricter version of the thresholds that an alarm chooses"
        faults.append(f'[audit] alarm_share: needs [audit] on_alarm = "tighten": {text}')
    if audit.alarm_share <= audit.share:
        got = f"(got {audit.alarm_share:g} and {audit.share:g})"
        faults.append(f"[audit] alarm_share: must be 0 or above share, which it replaces for a while {got}")
    return faults


def _reaching(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """How the remote and the registry are reached, and who we are to them."""
    remote = settings.remote
    faults = [] if ("remote", "url") in faulty else reaching_faults(remote, "remote", remote.url)
    registry = settings.registry
    if registry.url and ("registry", "url") not in faulty:
        faults += reaching_faults(registry, "registry", registry.url)
    elif not registry.url:
        given = [key for key in REACHED if getattr(registry, key)]
        faults += [f"[registry] {key}: has no use without url" for key in given]
    if remote.credentials and (remote.api_key is not None or remote.api_key_file):
        faults.append("[remote] credentials: has no use beside a key: take one of the two")
    return faults


def _shared_header(settings: Settings) -> list[str]:
    """The header that carries the key would be lost to the key, or the key to it."""
    remote = settings.remote
    if remote.api_key_header.lower() not in {name.lower() for name in remote.headers}:
        return []
    return [f"[remote] headers: must not hold {remote.api_key_header}, which is [remote] api_key_header"]
