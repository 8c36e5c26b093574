"""Where calls to the remote go: the whole address, and whether `url` and path repeat each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ...agents.remote.endpoint import shown_address
from ...agents.remote.sending import outbound
from ...schemas.codec import Request
from ...schemas.field_paths import place, steps_of
from ..settings.keys.protocol_options import AnthropicOptions, ChatOptions, TeiOptions
from ..settings.keys.protocols import TABLES

if TYPE_CHECKING:
    from ...agents.remote.protocol import RemoteProtocol
    from ..settings.keys.remote import RemoteSettings
    from ..settings.tables import Settings


def input_to_ask(settings: Settings) -> Any:  # noqa: ANN401  # any JSON value
    """What leaves for the remote of the first input of the warm-up. Raises `InvalidRequest`, `LookupError` for none."""
    first = settings.local.warm_up[0]
    document: dict[str, Any] = {}
    if steps := steps_of(settings.request.input):
        place(document, steps, first)
    asked = Request(document, first, id=None, deadline_ms=None)
    return outbound(asked, settings.remote.send)


def called_path(settings: Settings, protocol: RemoteProtocol | None) -> str | None:
    """The path that calls take; None where only a call could tell, of a protocol of the user's own."""
    remote = settings.remote
    if remote.protocol == "open_inference":
        return f"/v2/models/{quote(remote.model, safe='')}/infer"
    if remote.protocol == "openai_chat":
        return (remote.openai_chat or ChatOptions()).path
    if remote.protocol == "anthropic_messages":
        return (remote.anthropic_messages or AnthropicOptions()).path
    if remote.protocol == "tei":
        return (remote.tei or TeiOptions()).path
    if remote.generic_json is not None:
        return remote.generic_json.path
    return _built(settings, protocol)


def _built(settings: Settings, protocol: RemoteProtocol | None) -> str | None:
    if protocol is None:
        return None
    try:
        return str(protocol.build([input_to_ask(settings)]).path)
    except Exception:  # noqa: BLE001  # it is the user's own code, and only `--pay` needs it to work
        return None


def repeated(url: str, path: str) -> str | None:
    """What stands both at the end of the url and in the path, as in `/v1`; None where nothing does.

    A path's beginning repeated is a mistake however short it is, a piece from its middle only from two steps on:
    `/models` may be a gateway's own word.
    """
    ours, theirs = _steps(url), _steps(path)
    for count in range(min(len(ours), len(theirs)), 0, -1):
        tail = ours[-count:]
        places = [at for at in range(len(theirs) - count + 1) if theirs[at : at + count] == tail]
        if places and (places[0] == 0 or count > 1):
            return "/" + "/".join(tail)
    return None


def why_doubled(remote: RemoteSettings, path: str) -> str | None:
    """The fault in words, where `url` and path repeat each other."""
    twice = repeated(remote.url, path)
    if twice is None:
        return None
    where = "path" if remote.protocol in TABLES else "the protocol's own path"
    return (
        f"[remote] url and {where} both have {twice}, so calls go to {shown_address(remote.url + path)}: "
        f"take {twice} out of [remote] url"
    )


def _steps(address: str) -> list[str]:
    return [step for step in urlsplit(address).path.split("/") if step]
