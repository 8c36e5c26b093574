"""From `[remote]` to the protocol that is spoken: one function for each that is built in, or the user's own, loaded.

Which protocols there are, and the defaults that follow from the choice, is in `settings/keys/protocols.py`. What each
says on the wire is in `agents/remote/protocols/`.
"""

from __future__ import annotations

from collections.abc import Callable

from ...agents.answers import ClassReading
from ...agents.remote.protocol import Detailed, RemoteProtocol
from ...agents.remote.protocols.anthropic.messages import AnthropicMessages
from ...agents.remote.protocols.custom import load_protocol
from ...agents.remote.protocols.generic_json import GenericJson
from ...agents.remote.protocols.label_forms import LABEL_BY, LabelForm
from ...agents.remote.protocols.open_inference import OpenInference
from ...agents.remote.protocols.openai_chat import OpenAIChat
from ...agents.remote.protocols.tei import Tei
from ...agents.remote.protocols.templates import parse, parse_json
from ..settings.keys.protocol_options import AnthropicOptions, ChatOptions, TeiOptions
from ..settings.keys.protocols import AGREEMENT, SELF_REPORTED
from ..settings.keys.remote import RemoteSettings


def make_protocol(remote: RemoteSettings, *, detailed: bool = False) -> RemoteProtocol:
    """What speaks to the remote. Raises `ConfigurationError` where it is the user's own and cannot be loaded.

    `detailed`: answers come with their `Details`, where it can read any.
    """
    make = _MAKERS.get(remote.protocol)
    protocol = load_protocol(remote.protocol, remote.options) if make is None else make(remote)
    return protocol.in_detail() if detailed and isinstance(protocol, Detailed) else protocol


def _open_inference(remote: RemoteSettings) -> OpenInference:
    reading = ClassReading(remote.output == "logits", remote.labels, remote.own_score, remote.temperature)
    scored_by = remote.score_output if remote.output == "scored" else ""
    return OpenInference(
        remote.model,
        remote.input_name,
        remote.datatype,
        remote.output_name,
        reading,
        scored_by,
        column=remote.input_shape == "column",
        exact_labels=remote.exact_labels,
    )


def _openai_chat(remote: RemoteSettings) -> OpenAIChat:
    options = remote.openai_chat or ChatOptions()
    return OpenAIChat(
        remote.model,
        prompt=parse(options.prompt),
        system=parse(options.system) if options.system else None,
        fields=remote.send,
        labels=remote.labels,
        exact=remote.exact_labels,
        score=remote.own_score if remote.own_score != AGREEMENT else "",
        samples=options.samples,
        samples_by=options.samples_by,
        response_format=options.response_format,
        json_schema=options.json_schema,
        answer_path=options.answer_path,
        form=_label_form(options),
        unwrap=options.unwrap,
        finish_reasons=options.finish_reasons,
        path=options.path,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        max_tokens_field=options.max_tokens_field,
        seed=options.seed,
        top_logprobs=options.top_logprobs,
        extra=options.extra,
    )


def _label_form(options: ChatOptions) -> LabelForm | None:
    if options.answer != "label":
        return None
    return LabelForm(LABEL_BY[0], learns=True) if options.label_by == "learn" else LabelForm(options.label_by)


def _anthropic_messages(remote: RemoteSettings) -> AnthropicMessages:
    options = remote.anthropic_messages or AnthropicOptions()
    return AnthropicMessages(
        remote.model,
        prompt=parse(options.prompt),
        system=parse(options.system) if options.system else None,
        fields=remote.send,
        labels=remote.labels,
        exact=remote.exact_labels,
        reported=remote.own_score == SELF_REPORTED,
        samples=options.samples,
        unwrap=options.unwrap,
        path=options.path,
        version=options.version,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        extra=options.extra,
    )


def _tei(remote: RemoteSettings) -> Tei:
    options = remote.tei or TeiOptions()
    return Tei(
        remote.model or "tei",
        fields=remote.send,
        labels=remote.labels,
        exact=remote.exact_labels,
        score=remote.own_score,
        raw_scores=options.raw_scores,
        truncate=options.truncate,
        path=options.path,
    )


def _generic_json(remote: RemoteSettings) -> GenericJson:
    options = remote.generic_json
    if options is None:  # reading a file tells it; here, for settings that were built otherwise
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
        exact=remote.exact_labels,
        answers=options.answers,
        score=options.score or None,
        transform=options.transform,
        require=options.require,
        model_path=options.model_path or None,
        prompt_tokens=options.prompt_tokens or None,
        completion_tokens=options.completion_tokens or None,
        cached_tokens=options.cached_tokens or None,
        cache_write_tokens=options.cache_write_tokens or None,
    )


_MAKERS: dict[str, Callable[[RemoteSettings], RemoteProtocol]] = {
    "open_inference": _open_inference,
    "openai_chat": _openai_chat,
    "anthropic_messages": _anthropic_messages,
    "tei": _tei,
    "generic_json": _generic_json,
}
