"""What real servers answer, each case for its kind, and what must come of six doubtful records.

A case is played by `support.walk` against the remote agent as a worker makes it. Add one: give it a name, a protocol,
an answer, and what `must` come of it. `NOT_YET` names those that are known not to be right yet.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from bisupervised.agents.remote.transport import Response

from .far_end import Asked
from .remotes import chat_completion

Must = Literal[
    "wait",  # calls stop after a few, loudly, with the server's words; once it is well, all six are answered
    "slow down",  # nothing falls back, calls come at growing distance; once it is well, all six are answered
    "tell",  # nothing falls back, and a person is told within a minute; once it is well, all six are answered
    "answer",  # all six are answered, those that failed at first were tried again
    "refuse one",  # of one of the six it says this: that one falls back as refused, the others are answered
    "spoil one",  # the same, and that one falls back as invalid_answer
]
Protocol = Literal["openai_chat", "anthropic_messages", "open_inference", "tei"]


@dataclass(frozen=True)
class Case:
    """A server, and what must come of it."""

    name: str
    protocol: Protocol
    answer: Response | Callable[[Asked], Response]
    must: Must
    says: str = ""  #: words of the server that `remote_stopped` carries
    first: int | None = None  #: it says so to so many calls; None: until somebody mends it
    to: Callable[[int], bool] | None = None  #: the calls to which alone it says so, by their number, from 1 on
    settings: Mapping[str, str] = field(default_factory=dict)  #: of the worker, by the names of the environment
    prediction: Any = "positive"  #: where this answer is one
    scores: tuple[float | None, ...] = ()  #: that it may have then; (): any


def said(document: Any, status: int = 200, **headers: str) -> Response:
    """This document, or this text."""
    body = document.encode() if isinstance(document, str) else orjson.dumps(document)
    kind = "text/html" if isinstance(document, str) else "application/json"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"content-type": kind} | named, body)


def error(status: int, message: str, kind: str | None = None, code: Any = None, **headers: str) -> Response:
    """An error as most servers of chat completions write it."""
    return said({"error": {"message": message, "type": kind, "code": code}}, status, **headers)


def events(*documents: Any, name: str = "") -> Response:
    """A stream of events."""
    named = f"event: {name}\n" if name else ""
    told = [f"{named}data: {orjson.dumps(document).decode()}\n\n" for document in documents]
    return said("".join(told) + "data: [DONE]\n\n", content_type="text/event-stream")


def completion(content: Any = "positive", **more: Any) -> Response:
    """A whole answer, or what differs from one."""
    logprobs = {"content": [{"token": "positive", "logprob": -0.01}]}
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop", "logprobs": logprobs}
    of_choice = {name: more.pop(name) for name in ("finish_reason", "logprobs") if name in more}
    return said(chat_completion(choice | of_choice, **more))


def squeezed(response: Response) -> Response:
    """The same, compressed."""
    return Response(response.status, {**response.headers, "content-encoding": "gzip"}, gzip.compress(response.body))


LOGIN = "<!doctype html><title>Sign in</title><form>Your work account, please</form>"
CHAT: Protocol = "openai_chat"

#: every call is refused, whatever the status: it is the remote's fault
REFUSED = (
    Case(
        "no money, 400",
        "anthropic_messages",
        said(
            {"type": "error", "error": {"type": "invalid_request_error", "message": "the balance is too low"}},
            400,
        ),
        "wait",
        "the balance is too low",
    ),
    Case(
        "wrong key, 400 in a list",
        CHAT,
        said([{"error": {"code": 400, "message": "the key is not valid", "status": "INVALID_ARGUMENT"}}], 400),
        "wait",
        "the key is not valid",
    ),
    Case(
        "an option that the model does not take",
        CHAT,
        error(400, "'temperature' must be left alone", "invalid_request_error", "unsupported_value"),
        "wait",
        "'temperature' must be left alone",
    ),
    Case(
        "unknown model, 400",
        "open_inference",
        said({"error": "request for an unknown model: 'large' is not found"}, 400),
        "wait",
        "unknown model",
    ),
    Case("moved, 301", CHAT, said("<html>moved", 301, location="https://a.example/v1"), "wait", "https://a.example/v1"),
    Case("moved, 308", CHAT, said("", 308, location="https://b.example/v1"), "wait", "https://b.example/v1"),
    Case("to a login, 302", CHAT, said("", 302, location="/login?next=%2Fv1"), "wait", "/login?next=%2Fv1"),
    Case("wrong key, 401", CHAT, error(401, "no such key", "auth", "invalid_api_key"), "wait", "no such key"),
    Case("wrong key, 401 without a word", CHAT, Response(401, {}, b""), "wait", "401"),
    Case("no money, 402", CHAT, error(402, "Insufficient credits", None, 402), "wait", "Insufficient credits"),
    Case("a firewall, 403 in HTML", CHAT, said("<html><h1>Forbidden</h1>", 403), "wait", "Forbidden"),
    Case("no such path, 404", CHAT, said("404 page not found", 404), "wait", "404 page not found"),
    Case(
        "no such model, 404", CHAT, error(404, "there is no model large", None, "model_not_found"), "wait", "no model"
    ),
    Case("wrong method, 405", CHAT, said({"detail": "Method Not Allowed"}, 405), "wait", "Method Not Allowed"),
    Case("not acceptable, 406", CHAT, said({"message": "nothing acceptable"}, 406), "wait", "nothing acceptable"),
    Case("a proxy wants a name, 407", CHAT, said("<html>Proxy Authentication Required", 407), "wait", "407"),
    Case("gone, 410", CHAT, error(410, "this model was shut down", None, "model_gone"), "wait", "was shut down"),
    Case("another media type, 415", CHAT, said({"detail": "Unsupported Media Type"}, 415), "wait", "Unsupported"),
    Case("out of date, 426", CHAT, said({"error": "upgrade required"}, 426), "wait", "upgrade required"),
    Case("not in your country, 451", CHAT, said({"error": "not in your country"}, 451), "wait", "your country"),
    Case(
        "fields that it does not know, 422",
        CHAT,
        said({"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs are not permitted"}]}, 422),
        "wait",
        "Extra inputs are not permitted",
    ),
    Case(
        "a system prompt that is too long for every input",
        CHAT,
        error(400, "the context has 4096 tokens", None, "context_length_exceeded"),
        "wait",
        "4096 tokens",
    ),
    Case(
        "a system prompt that is filtered with every input",
        CHAT,
        error(400, "the prompt was filtered", None, "content_filter"),
        "wait",
        "was filtered",
    ),
    Case(
        "too large with every message, 413",
        "anthropic_messages",
        said({"type": "error", "error": {"type": "request_too_large", "message": "it exceeds the size"}}, 413),
        "wait",
        "exceeds the size",
    ),
    Case(
        "the bill is not paid, 429",
        CHAT,
        error(429, "Your account is not active", "billing_not_active", "billing_not_active"),
        "wait",
        "not active",
    ),
    Case(
        "as OAuth has it, 401",
        CHAT,
        said({"error": "invalid_client", "error_description": "the secret has expired"}, 401),
        "wait",
        "invalid_client: the secret has expired",
    ),
    Case(
        "a problem with a title, 403",
        CHAT,
        said({"type": "about:blank", "title": "No access"}, 403),
        "wait",
        "No access",
    ),
    Case("wrong path of a model server, 404", "tei", said("", 404), "wait", "404"),
    Case(
        "a model server without this model, 424",
        "tei",
        said({"error": "no model", "error_type": "x"}, 422),
        "wait",
        "no model",
    ),
    Case("a login page with 200", CHAT, said(LOGIN), "wait", "Sign in"),
    Case("a login page with 200, of tensors", "open_inference", said(LOGIN), "wait", "Sign in"),
    Case("a login page with 200, of messages", "anthropic_messages", said(LOGIN), "wait", "Sign in"),
    Case("a login page with 200, of classes", "tei", said(LOGIN), "wait", "Sign in"),
    Case("JSON of something else with 200", CHAT, said({"status": "ok", "version": "1.2"}), "wait", "version"),
    Case("JSON of something else, of tensors", "open_inference", said({"status": "ok"}), "wait", "status"),
    Case("JSON of something else, of messages", "anthropic_messages", said({"status": "ok"}), "wait", "status"),
    Case("JSON of something else, of classes", "tei", said({"status": "ok"}), "wait", "status"),
    Case(
        "the outputs are named otherwise",
        "open_inference",
        said(
            {"model_name": "large", "outputs": [{"name": "o", "shape": [6, 2], "datatype": "FP32", "data": [0.5] * 12}]}
        ),
        "wait",
        "'o'",
    ),
    Case("a success that is not one, 203 in text", CHAT, said("Welcome to nginx!", 203), "wait", "Welcome to nginx!"),
    Case(
        "the quota is spent, in a 200",
        CHAT,
        error(200, "You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        "wait",
        "exceeded your current quota",
    ),
    Case(
        "the key is wrong, in a 200", CHAT, error(200, "no auth credentials", None, 401), "wait", "no auth credentials"
    ),
    Case(
        "no such deployment, in a 200 of a text",
        CHAT,
        error(200, "deployment not found", "not_found_error", "404"),
        "wait",
        "deployment not found",
    ),
)

#: a failure in a stream of events, which nobody asked for
IN_STREAMS = (
    Case(
        "the key is wrong, in a stream",
        CHAT,
        events({"error": {"message": "no auth credentials", "code": 401}}),
        "wait",
        "no auth credentials",
    ),
    Case(
        "no money, in a stream with a choice",
        CHAT,
        events(
            {
                "id": "1",
                "error": {"code": 402, "message": "insufficient credits"},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            }
        ),
        "wait",
        "insufficient credits",
    ),
    Case("limited, in a stream", CHAT, events({"error": {"message": "slowly", "code": 429}}), "slow down"),
    Case(
        "the key is wrong, in a stream of messages",
        "anthropic_messages",
        events({"type": "error", "error": {"type": "authentication_error", "message": "no such key"}}, name="error"),
        "wait",
        "no such key",
    ),
    Case(
        "the key is wrong, in a stream of chat with an event's name",
        CHAT,
        events({"type": "error", "error": {"type": "authentication_error", "message": "no such key"}}, name="error"),
        "wait",
        "no such key",
    ),
    Case("a stream that has ended at once", CHAT, events(), "slow down"),
    Case("a stream that has ended at once, for one call", CHAT, events(), "answer", first=1),
    Case("a stream of text", CHAT, said("data: please log in\n\n", content_type="text/event-stream"), "wait", "log in"),
    Case(
        "lost in the midst of a stream",
        CHAT,
        events(
            {"choices": [{"index": 0, "delta": {"content": "posi"}}]},
            {"error": {"code": 502, "message": "the provider"}},
        ),
        "answer",
        first=1,
    ),
)

#: it asks to slow down, and never stops asking
LIMITED = (
    Case(
        "a budget is exceeded, 429",
        CHAT,
        error(429, "the budget is exceeded", "budget_exceeded", "429"),
        "slow down",
    ),
    Case("too many requests, 429 in HTML", CHAT, said("<html>Too Many Requests", 429), "slow down"),
    Case("a limit of tokens, 429", "open_inference", said({"error": "try later"}, 429), "slow down"),
    Case("the same with a wish of a second", CHAT, error(429, "slowly", retry_after="1"), "slow down"),
    Case("limited, in a 200", CHAT, error(200, "rate limited upstream", None, 429), "slow down"),
    Case("a quota without a code, 429", CHAT, error(429, "Quota exceeded for this month"), "slow down"),
)

#: it is not refused, and not by one call to be told from an outage: where it lasts, a person is told all the same
LASTING = (
    Case("not implemented, 501", CHAT, said("not by this server", 501), "tell", "not by this server"),
    Case("out of service, 503", CHAT, error(503, "until Monday"), "tell", "until Monday"),
    Case("a portal wants a name, 511", CHAT, said("<html>Sign in to this network", 511), "tell", "Sign in"),
    Case(
        "of the code of a failure, 500",
        "tei",
        said({"error": "out of memory", "error_type": "x"}, 500),
        "tell",
        "memory",
    ),
    Case("limited for good, 429", CHAT, error(429, "upgrade your plan"), "tell", "upgrade your plan"),
)

#: it fails for now, in a way that others use for a refusal or a bad answer
FOR_NOW = (
    Case(
        "exhausted, 403",
        CHAT,
        said({"error": {"code": 403, "message": "slowly", "status": "RESOURCE_EXHAUSTED"}}, 403),
        "answer",
        first=1,
    ),
    Case("limited, 403 in another spelling", CHAT, error(403, "slowly", None, "rateLimitExceeded"), "answer", first=1),
    Case("limited, 403 with a wish", CHAT, said({"message": "slowly"}, 403, retry_after="1"), "answer", first=1),
    *(
        Case(f"an answer that ends with {word}", CHAT, completion("posi", finish_reason=word), "answer", first=1)
        for word in ("error", "abort", "insufficient_system_resource", "network_error", "UNKNOWN")
    ),
)

#: a failure in a success: its own code says what it is
INSIDE = (
    Case("the provider is limited", CHAT, error(200, "limited for now", None, 429), "answer", first=1),
    Case("the provider is limited, as text", CHAT, error(200, "limited for now", None, "429"), "answer", first=1),
    Case("the provider is down", CHAT, error(200, "bad gateway", None, 502), "answer", first=1),
    Case("the provider is overloaded", CHAT, error(200, "busy", "overloaded_error"), "answer", first=1),
    Case("a failure without a code", CHAT, error(200, "internal error", "server_error"), "answer", first=1),
    Case("limited, by its type", CHAT, error(200, "slowly", "rate_limit_error"), "answer", first=1),
    Case(
        "a failure in a choice",
        CHAT,
        said(
            {
                "choices": [
                    {"error": {"code": 502, "message": "lost"}, "message": {"content": ""}, "finish_reason": "error"}
                ]
            }
        ),
        "answer",
        first=1,
    ),
    Case(
        "a failure among messages",
        "anthropic_messages",
        said({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
        "answer",
        first=1,
    ),
    Case("a failure among tensors", "open_inference", said({"error": "out of memory", "code": 503}), "answer", first=1),
    Case("no choices", CHAT, said({"id": None, "choices": None, "usage": None}), "answer", first=1),
    Case("an empty list of choices", CHAT, said({"id": "1", "choices": []}), "answer", first=1),
    Case("no body", CHAT, Response(200, {}, b""), "answer", first=1),
    Case("white space alone", CHAT, Response(200, {}, b"\n \n"), "answer", first=1),
    Case("null", CHAT, said(None), "answer", first=1),
    Case("no body, of tensors", "open_inference", Response(200, {}, b""), "answer", first=1),
    Case("no body, of messages", "anthropic_messages", Response(200, {}, b""), "answer", first=1),
    Case("no body, of classes", "tei", Response(200, {}, b""), "answer", first=1),
    Case("no content, 204", CHAT, Response(204, {}, b""), "answer", first=1),
)

#: one input is refused among others that are answered
OF_ITS_CONTENT = (
    Case("a policy, in words", CHAT, error(400, "refused by the content policy", None, "400"), "refuse one"),
    Case("a policy, by its code", CHAT, error(400, "The prompt was filtered", None, "content_filter"), "refuse one"),
    Case("a policy, by another code", CHAT, error(400, "no", None, "content_policy_violation"), "refuse one"),
    Case(
        "too long, in words",
        CHAT,
        said(
            {"object": "error", "message": "the context has 4096 tokens", "type": "BadRequestError", "code": 400}, 400
        ),
        "refuse one",
    ),
    Case("too long, by its code", CHAT, error(400, "long", None, "context_length_exceeded"), "refuse one"),
    Case("too long, by another code", CHAT, error(400, "long", None, "string_above_max_length"), "refuse one"),
    Case("too large, 413", CHAT, said("<html>Request Entity Too Large", 413), "refuse one"),
    Case("a wrong form, 422", CHAT, said({"detail": "no text"}, 422), "refuse one"),
    Case("moderated, 403", CHAT, error(403, "flagged", None, 403), "refuse one"),
    Case("a firewall, 403 in HTML, for one", CHAT, said("<html>Blocked", 403), "refuse one"),
    Case("not found, 404, for one", CHAT, said({"detail": "no such product"}, 404), "refuse one"),
    Case("for legal reasons, 451, for one", CHAT, error(451, "not this one"), "refuse one"),
    Case("filtered, in a 200", CHAT, completion("", finish_reason="content_filter"), "refuse one"),
    Case(
        "refused by the model, in a 200",
        CHAT,
        said(chat_completion({"message": {"content": None, "refusal": "I cannot"}, "finish_reason": "stop"})),
        "refuse one",
    ),
    Case("a policy, in a 200", CHAT, error(200, "filtered", None, "content_filter"), "refuse one"),
    Case(
        "one text of a batch is too long", "open_inference", said({"error": "an input is too long"}, 400), "refuse one"
    ),
    Case(
        "one text of a batch is too long, 413",
        "tei",
        said({"error": "long", "error_type": "validation"}, 413),
        "refuse one",
    ),
    Case("a page for one", CHAT, said(LOGIN), "spoil one"),
    Case("nonsense for one of a batch", "open_inference", said({"outputs": 3}), "spoil one"),
)


def _odd(call: int) -> bool:
    return call % 2 == 1


def _only(number: int) -> Callable[[int], bool]:
    return lambda call: call == number


def _even(call: int) -> bool:
    return call % 2 == 0


#: what one of two servers behind an address says to every call, and the other does not
_HALF_WELL: tuple[tuple[str, Protocol, Response], ...] = (
    ("404", CHAT, said("404 page not found", 404)),
    ("401", CHAT, error(401, "no such key", "auth", "invalid_api_key")),
    ("302 to a login", CHAT, said("", 302, location="/login")),
    ("400 while its model is loading", CHAT, error(400, "the model is loading")),
    ("404 of a batch", "open_inference", said({"error": "no such model"}, 404)),
    ("a login page", CHAT, said(LOGIN)),
)
#: with more calls at once than there are records, and with one after the other
_ONE_BY_ONE = {"BISUPERVISED_REMOTE__IN_FLIGHT": "1", "BISUPERVISED_TOPICS__PARTITIONS": "1"}

#: a refusal that the next try would not meet: no record pays for it
PASSING = (
    *(
        Case(f"one server of two, {which}, the {at} call", protocol, answer, "answer", to=to)
        for which, protocol, answer in _HALF_WELL
        for at, to in (("first", _odd), ("second", _even))
        if (which, at) != ("404 of a batch", "first")  # before anything is answered, it stops all calls
    ),
    *(
        Case(f"{status} once, to the {at} call", CHAT, said("no", status), "answer", to=_only(at))
        for status in (400, 401, 403, 404, 420, 421, 460, 499)
        for at in (1, 3, 6)
    ),
    *(
        Case(
            f"{status} once, call by call",
            CHAT,
            said("no", status),
            "answer",
            to=_only(3),
            settings=_ONE_BY_ONE,
        )
        for status in (400, 401, 499)
    ),
    Case("a page once", CHAT, said(LOGIN), "answer", to=_only(3)),
)

#: answers of the right form, every one of them of no use: they are paid for, and nobody can use the next either
USELESS = (
    Case("all cut off", CHAT, completion("posi", finish_reason="length"), "wait", "length"),
    Case("all withheld", CHAT, completion("", finish_reason="content_filter"), "wait", "content_filter"),
    Case("all refused by the model", CHAT, completion(None, finish_reason="refusal"), "wait", "refusal"),
    Case("all with another label", CHAT, completion("I am not sure"), "wait", "none of the 2 labels"),
    Case("all without a word", CHAT, completion(""), "wait", "empty"),
    Case(
        "all with nothing for an answer",
        "open_inference",
        said({"outputs": [{"name": "probabilities", "shape": [1, 2], "datatype": "FP32", "data": [None, None]}]}),
        "wait",
    ),
)

CASES = REFUSED + IN_STREAMS + LIMITED + LASTING + FOR_NOW + INSIDE + OF_ITS_CONTENT + PASSING + USELESS

#: cases that fail today; one that fails no more must leave
NOT_YET: frozenset[str] = frozenset()
