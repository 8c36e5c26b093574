"""From `[remote]` to the protocol that is spoken, and what does not fit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..agents.answers import ClassReading
from ..agents.remote.price import Bounded
from ..agents.remote.protocols.custom import load_protocol
from ..agents.remote.protocols.generic_json import INPUTS, GenericJson
from ..agents.remote.protocols.open_inference import OpenInference
from ..agents.remote.protocols.openai_chat import OpenAIChat
from ..agents.remote.protocols.tei import Tei
from ..agents.remote.protocols.templates import names_in, parse, parse_json
from ..agents.supervision.scores import fitting
from .protocol_settings import ChatOptions, GenericOptions, TeiOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..agents.remote.protocol import RemoteProtocol
    from .faults import Place
    from .settings import Remote, Settings

PROTOCOLS = ("open_inference", "openai_chat", "tei", "generic_json")
#: the tables inside [remote], by protocol
TABLES: dict[str, type[ChatOptions | TeiOptions | GenericOptions]] = {
    "openai_chat": ChatOptions,
    "tei": TeiOptions,
    "generic_json": GenericOptions,
}
#: keys of [remote] that mean something to one protocol only
_KEYS = dict.fromkeys(
    ("input_name", "datatype", "output_name", "output", "score_output", "temperature"), "open_inference"
)
_KEYS |= {key: key for key in TABLES}
#: inputs of one call where [remote] batch_size is not set
_BATCH_SIZE = 8
AGREEMENT = "agreement"


def own_scores(protocol: str, output: str) -> list[str] | None:
    """The names of the scores that its answers can be given; None where the remote gives one of its own."""
    if protocol == "openai_chat":
        return sorted([*fitting("tokens"), AGREEMENT])
    if protocol == "tei" or (protocol == "open_inference" and output != "scored"):
        return fitting("classes")
    return None


def usual_score(protocol: str) -> str:
    """The name of that score where [remote] says none."""
    return {"open_inference": "max_softmax", "tei": "max_softmax", "openai_chat": "token_mean"}.get(protocol, "score")


def needs_model(protocol: str) -> bool:
    """Whether the server must be told which of its models is asked."""
    return protocol in ("open_inference", "openai_chat")


def bounds_answers(protocol: str) -> bool:
    """Whether it knows itself how long an answer can be. One of your own is not asked: it is made later."""
    known = {"open_inference": OpenInference, "openai_chat": OpenAIChat, "tei": Tei, "generic_json": GenericJson}
    return issubclass(known.get(protocol, object), Bounded)


def usual_batch_size(data: dict[str, Any]) -> int:
    """Inputs in one call, from what is known of [remote]."""
    return 1 if _asks_singly(data.get("protocol"), data.get("generic_json")) else _BATCH_SIZE


def _asks_singly(protocol: str | None, generic: GenericOptions | None) -> bool:
    if protocol == "generic_json":
        return generic is not None and INPUTS not in names_in(parse_json(generic.body))
    return protocol == "openai_chat"


def make_protocol(remote: Remote) -> RemoteProtocol:
    """What speaks to the remote. Raises `ConfigurationError` where it is the user's own and cannot be loaded."""
    makers: dict[str, Callable[[Remote], RemoteProtocol]] = {
        "open_inference": _open_inference,
        "openai_chat": _openai_chat,
        "tei": _tei,
        "generic_json": _generic_json,
    }
    if remote.protocol in makers:
        return makers[remote.protocol](remote)
    return load_protocol(remote.protocol, remote.options)


def _open_inference(remote: Remote) -> OpenInference:
    reading = ClassReading(remote.output == "logits", remote.labels, remote.own_score, remote.temperature)
    scored_by = remote.score_output if remote.output == "scored" else ""
    return OpenInference(remote.model, remote.input_name, remote.datatype, remote.output_name, reading, scored_by)


def _openai_chat(remote: Remote) -> OpenAIChat:
    options = remote.openai_chat or ChatOptions()
    return OpenAIChat(
        remote.model,
        prompt=parse(options.prompt),
        system=parse(options.system) if options.system else None,
        fields=remote.send,
        labels=remote.labels,
        score=remote.own_score if remote.own_score != AGREEMENT else "",
        samples=options.samples,
        samples_by=options.samples_by,
        response_format=options.response_format,
        json_schema=options.json_schema,
        answer_path=options.answer_path,
        path=options.path,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        max_tokens_field=options.max_tokens_field,
        seed=options.seed,
        top_logprobs=options.top_logprobs,
        extra=options.extra,
    )


def _tei(remote: Remote) -> Tei:
    options = remote.tei or TeiOptions()
    return Tei(
        remote.model or "tei",
        fields=remote.send,
        labels=remote.labels,
        score=remote.own_score,
        raw_scores=options.raw_scores,
        truncate=options.truncate,
        path=options.path,
    )


def _generic_json(remote: Remote) -> GenericJson:
    options = remote.generic_json
    if options is None:  # load_settings tells it; here, for settings that were built otherwise
        raise ValueError("[remote.generic_json] is missing")
    return GenericJson(
        parse_json(options.body),
        options.prediction,
        model=remote.model or "remote",
        path=options.path,
        method=options.method,
        item=parse_json(options.item),
        fields=remote.send,
        labels=remote.labels,
        answers=options.answers,
        score=options.score or None,
        transform=options.transform,
        require=options.require,
        model_path=options.model_path or None,
        prompt_tokens=options.prompt_tokens or None,
        completion_tokens=options.completion_tokens or None,
    )


def unfit_for_protocol(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What is right alone and does not fit the protocol. Whatever is in `faulty` is reported already."""
    remote = settings.remote
    if {("", "remote"), ("remote", "protocol")} & faulty:
        return []
    faults = _of_others(remote)
    faults += [] if ("remote", "send") in faulty else _unsendable(remote)
    faults += [] if ("remote", "batch_size") in faulty else _too_many(remote)
    known = {table for table, _ in faulty}
    if remote.protocol == "openai_chat" and ("remote", "supervisor") not in faulty and _CHAT not in known:
        faults += _unsampled(remote)
    return faults


_CHAT = "remote.openai_chat"


def _of_others(remote: Remote) -> list[str]:
    """Keys that were given, in vain."""
    faults = [
        f'[remote] {key}: belongs to protocol = "{owner}" (protocol is "{remote.protocol}")'
        for key, owner in _KEYS.items()
        if key in remote.model_fields_set and owner != remote.protocol and key not in TABLES
    ]
    faults += [
        f'[remote.{key}]: belongs to protocol = "{key}" (protocol is "{remote.protocol}")'
        for key in TABLES
        if key in remote.model_fields_set and key != remote.protocol
    ]
    if remote.options and remote.protocol in PROTOCOLS:
        faults.append(f'[remote.options]: are for a protocol of your own (protocol is "{remote.protocol}")')
    return faults


def _unsendable(remote: Remote) -> list[str]:
    count = len(remote.send)
    if remote.protocol == "open_inference" and count:
        return ['[remote] send: protocol = "open_inference" sends the model\'s input alone']
    if remote.protocol == "tei" and count > 2:
        return [f'[remote] send: protocol = "tei" takes one field, or two for a pair (got {count})']
    allowed = set(remote.send or ("input",))
    faults = [fault for key, names in _templates(remote) for fault in _unlisted(key, names - allowed, remote.send)]
    return faults + _beside_inputs(remote.generic_json)


def _templates(remote: Remote) -> list[tuple[str, frozenset[str]]]:
    """Each key that holds templates, and the fields that they name."""
    chat, generic = remote.openai_chat, remote.generic_json
    if remote.protocol == "openai_chat" and chat is not None:
        return [(f"[{_CHAT}] prompt", parse(chat.prompt).names), (f"[{_CHAT}] system", parse(chat.system).names)]
    if remote.protocol == "openai_chat":
        return [(f"[{_CHAT}] prompt", frozenset({"input"}))]
    if remote.protocol == "generic_json" and generic is not None:
        body, item = names_in(parse_json(generic.body)), names_in(parse_json(generic.item))
        return [("[remote.generic_json] item", item) if INPUTS in body else ("[remote.generic_json] body", body)]
    return []


def _beside_inputs(generic: GenericOptions | None) -> list[str]:
    names = names_in(parse_json(generic.body)) if generic is not None else frozenset()
    others = ", ".join(f"{{{name}}}" for name in sorted(names - {INPUTS}))
    if INPUTS not in names or not others:
        return []
    return [f"[remote.generic_json] body: is made once for all {{{INPUTS}}} and cannot name {others}; item can"]


def _unlisted(key: str, names: frozenset[str] | set[str], send: Sequence[str]) -> list[str]:
    listed = f"only {', '.join(send)}" if send else "only the model's input, which is {input}"
    fields = ", ".join(f"{{{name}}}" for name in sorted(names))
    return [f"{key}: names {fields}, and [remote] send lets out {listed}"] if names else []


def _too_many(remote: Remote) -> list[str]:
    if remote.batch_size == 1 or not _asks_singly(remote.protocol, remote.generic_json):
        return []
    return [f"[remote] batch_size: must be 1: a call takes one input (got {remote.batch_size})"]


def _unsampled(remote: Remote) -> list[str]:
    options = remote.openai_chat or ChatOptions()
    if remote.own_score != AGREEMENT:
        several = f'[{_CHAT}] samples: must be 1 unless [remote] supervisor = "agreement" (got {options.samples})'
        return [several] if options.samples > 1 else []
    faults = []
    if options.samples < 2:
        faults.append(f'[{_CHAT}] samples: must be at least 2 for [remote] supervisor = "agreement" (got 1)')
    if options.temperature == 0:
        faults.append(f'[{_CHAT}] temperature: must be more than 0 for [remote] supervisor = "agreement" (got 0)')
    return faults
