"""Keys of `[remote]` that are right alone and do not fit the protocol: of another one, or asking what it cannot do.

A protocol of the user's own is judged by itself, when it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...agents.remote.protocols.generic_json import INPUTS
from ...agents.remote.protocols.templates import names_in, parse, parse_json
from ...agents.supervision.scores import fitting
from .keys.certificates import REACHED
from .keys.local import LocalSettings
from .keys.protocol_options import AnthropicOptions, ChatOptions, GenericOptions
from .keys.protocols import AGREEMENT, PROTOCOLS, SELF_REPORTED, TABLES, asks_singly, usual_output
from .keys.remote import RemoteSettings
from .keys.server import OF_SERVERS
from .place import Place
from .reaching import reaching_faults
from .tables import Settings

#: keys of [remote] that mean something to one protocol only, and to which
_KEYS = dict.fromkeys(
    ("input_name", "datatype", "input_shape", "output_name", "output", "score_output", "temperature"), "open_inference"
)
_CHAT, _MESSAGES = "remote.openai_chat", "remote.anthropic_messages"


def unfit_for_protocol(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What is right alone and does not fit the protocol. Whatever is in `faulty` is reported already."""
    if {("", "remote"), ("remote", "protocol")} & faulty:
        return _unfit_locally(settings.local, faulty)
    return _unfit(settings.remote, faulty) + _unfit_locally(settings.local, faulty)


def _unfit_locally(local: LocalSettings, faulty: frozenset[Place]) -> list[str]:
    """The same of a server that is the local model, and whether there is one."""
    if any(table == "local" or table.startswith("local.") for table, _ in faulty):
        return []
    if not local.protocol:
        return [f"[local] {key}: has no use without protocol" for key in _given_in_vain(local)]
    text = "must be left out: the protocol decides"
    usual = local.output == usual_output(local.protocol)
    faults = ["[local] url: is missing: the address of the server that protocol speaks to"] * (not local.url)
    faults += ["[local] samples: must be 1: a server is asked once, or as often as its protocol says"] * (
        local.samples > 1
    )
    if local.protocol == "open_inference":
        outputs = ("logits", "probabilities", "scored")
        faults += [f"[local] output: must be one of {', '.join(outputs)}"] * (local.output not in outputs)
    else:
        faults += [f"[local] output: {text}"] * (not usual) + [f"[local] temperature: {text}"] * (
            local.temperature != 1
        )
    faults += reaching_faults(local, "local", local.url)
    found = _unfit(local.as_remote(), frozenset())
    return faults + [each.replace("[remote", "[local").replace("batch_size", "call_inputs") for each in found]


def _given_in_vain(local: LocalSettings) -> list[str]:
    """Keys of a server, and no server."""
    fields = LocalSettings.model_fields
    keys = [key for key in (*OF_SERVERS, *REACHED, "in_flight", "timeout_s") if key not in ("protocol", "model")]
    return [key for key in keys if getattr(local, key) != fields[key].get_default(call_default_factory=False)]


def _unfit(remote: RemoteSettings, faulty: frozenset[Place]) -> list[str]:
    faults = _of_others(remote)
    faults += [] if ("remote", "send") in faulty else _unsendable(remote)
    faults += [] if ("remote", "batch_size") in faulty else _too_many(remote)
    known = {table for table, _ in faulty}
    if remote.protocol == "openai_chat" and ("remote", "supervisor") not in faulty and _CHAT not in known:
        faults += _unsampled(remote, remote.openai_chat or ChatOptions(), _CHAT)
        faults += [] if ("remote", "labels") in faulty else _unlabelled(remote)
    if remote.protocol == "anthropic_messages" and ("remote", "supervisor") not in faulty and _MESSAGES not in known:
        options = remote.anthropic_messages or AnthropicOptions()
        faults += _unsampled(remote, options, _MESSAGES) + _unread(remote, options)
    return faults


def _of_others(remote: RemoteSettings) -> list[str]:
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


def _unsendable(remote: RemoteSettings) -> list[str]:
    """Fields that would be let out for nothing, and templates with fields that are not let out."""
    count = len(remote.send)
    if remote.protocol == "open_inference" and count:
        return ['[remote] send: protocol = "open_inference" sends the model\'s input alone']
    if remote.protocol == "tei" and count > 2:
        return [f'[remote] send: protocol = "tei" takes one field, or two for a pair (got {count})']
    allowed = set(remote.send or ("input",))
    faults = [fault for key, names in _templates(remote) for fault in _unlisted(key, names - allowed, remote.send)]
    return faults + _beside_inputs(remote.generic_json)


def _templates(remote: RemoteSettings) -> list[tuple[str, frozenset[str]]]:
    """Each key that holds templates, and the fields that they name."""
    chat, generic = remote.openai_chat, remote.generic_json
    if remote.protocol == "openai_chat" and chat is not None:
        return [(f"[{_CHAT}] prompt", parse(chat.prompt).names), (f"[{_CHAT}] system", parse(chat.system).names)]
    if remote.protocol == "openai_chat":
        return [(f"[{_CHAT}] prompt", frozenset({"input"}))]
    if remote.protocol == "anthropic_messages":
        messages = remote.anthropic_messages or AnthropicOptions()
        found = {"prompt": messages.prompt, "system": messages.system}
        return [(f"[{_MESSAGES}] {key}", parse(text).names) for key, text in found.items()]
    if remote.protocol == "generic_json" and generic is not None:
        body, item = names_in(parse_json(generic.body)), names_in(parse_json(generic.item))
        return [("[remote.generic_json] item", item) if INPUTS in body else ("[remote.generic_json] body", body)]
    return []


def _beside_inputs(generic: GenericOptions | None) -> list[str]:
    """A body that holds many inputs is made once, and cannot hold a field of each."""
    names = names_in(parse_json(generic.body)) if generic is not None else frozenset()
    others = ", ".join(f"{{{name}}}" for name in sorted(names - {INPUTS}))
    if INPUTS not in names or not others:
        return []
    return [f"[remote.generic_json] body: is made once for all {{{INPUTS}}} and cannot name {others}; item can"]


def _unlisted(key: str, names: frozenset[str] | set[str], send: Sequence[str]) -> list[str]:
    listed = f"only {', '.join(send)}" if send else "only the model's input, which is {input}"
    fields = ", ".join(f"{{{name}}}" for name in sorted(names))
    return [f"{key}: names {fields}, and [remote] send lets out {listed}"] if names else []


def _too_many(remote: RemoteSettings) -> list[str]:
    if remote.batch_size == 1 or not asks_singly(remote.protocol, remote.generic_json):
        return []
    return [f"[remote] batch_size: must be 1: a call takes one input (got {remote.batch_size})"]


def _unread(remote: RemoteSettings, options: AnthropicOptions) -> list[str]:
    """What says nothing of an answer that comes through a tool, and what some models refuse beside a tool."""
    faults = ["[remote] exact_labels: has no use without labels"] * (remote.exact_labels and not remote.labels)
    if remote.own_score != SELF_REPORTED:
        return faults
    faults += [f'[{_MESSAGES}] unwrap: has no use with [remote] supervisor = "{SELF_REPORTED}"'] * options.unwrap
    if "thinking" in options.extra:
        faults.append(f'[{_MESSAGES}] extra: thinking cannot be had with [remote] supervisor = "{SELF_REPORTED}"')
    return faults


def _unsampled(remote: RemoteSettings, options: ChatOptions | AnthropicOptions, table: str) -> list[str]:
    """Agreement needs several answers that can differ, and nothing else does."""
    if remote.own_score != AGREEMENT:
        several = f'[{table}] samples: must be 1 unless [remote] supervisor = "agreement" (got {options.samples})'
        return [several] if options.samples > 1 else []
    faults = []
    if options.samples < 2:
        faults.append(f'[{table}] samples: must be at least 2 for [remote] supervisor = "agreement" (got 1)')
    if options.temperature == 0:
        faults.append(f'[{table}] temperature: must be more than 0 for [remote] supervisor = "agreement" (got 0)')
    return faults


def _unlabelled(remote: RemoteSettings) -> list[str]:
    """What is about the labels of an answer needs some, and their tokens."""
    options = remote.openai_chat or ChatOptions()
    of_labels = remote.own_score in fitting("labels", "classes")
    faults = []
    if options.answer == "label" and not remote.labels:
        faults.append(f'[remote] labels: must be given for [{_CHAT}] answer = "label"')
    if options.label_by != "learn" and options.answer != "label":
        faults.append(f'[{_CHAT}] label_by: has no use without answer = "label"')
    if of_labels and len(remote.labels) < 2:
        faults.append(f'[remote] labels: must be two or more for [remote] supervisor = "{remote.own_score}"')
    if of_labels and options.top_logprobs < 1:
        faults.append(f'[{_CHAT}] top_logprobs: must be at least 1 for [remote] supervisor = "{remote.own_score}"')
    if remote.exact_labels and not remote.labels:
        faults.append("[remote] exact_labels: has no use without labels")
    return faults
