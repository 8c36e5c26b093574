"""Messages, as Anthropic and some gateways speak them: `POST /v1/messages`.

There are no log-probabilities. An answer has a score where the model says itself how sure it is, through a tool that it
must call, or where several answers are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from .....schemas.errors import InvalidAnswer, InvalidRequest, Refused
from ....answers import Answer
from ....supervision.scores import usable
from ...protocol import Call, Reply, Usage, brief, complaint_in, raise_for_status, tokens_in
from ...retry import FAILED, BrokenOff, NotAnAnswer
from ...transport import Response
from ..endings import is_cut, is_whole, is_withheld
from ..labels import one_of
from ..lenient_json import decoded
from ..templates import Template, parse, values_of
from ..wrapping import text_in, unwrapped

#: the tool through which an answer comes, and its fields
_TOOL, _LABEL, _CONFIDENCE = "answer", "label", "confidence"
#: the word for an answer that has called its tool
_CALLED = "tool_use"
#: tokens that a call of the tool takes beside its label, about
_TOOL_TOKENS = 64
#: bytes of the tool's description as a server reads it, about
_TOOL_BYTES = 2_000
#: characters of an answer that are shown where it is refused
_SHOWN_CHARS = 100


# read what is needed: what has no type here may have any shape


class _Message(msgspec.Struct):
    content: list[Any]
    model: Any = None
    stop_reason: Any = None
    usage: Any = None


_message = msgspec.json.Decoder(_Message)


@dataclass(frozen=True, slots=True)
class AnthropicMessages:
    """One input a call: a prompt is made of it, and the text that comes back is the answer, or what its tool is told.

    `reported`: the model calls a tool with its answer and how sure of it it is, from 0 to 1, and that is the score.
    Where `samples` are more than one, it is asked as often, and whoever calls compares the answers.
    """

    model: str  #: the remote's name of the model
    prompt: Template = field(default_factory=lambda: parse("{input}"))  #: the user's message
    system: Template | None = None  #: the system's message
    fields: tuple[str, ...] = ()  #: what inputs are made of; (): they are the model's input itself
    labels: tuple[str, ...] = ()  #: the answer is one of these; (): free text
    exact: bool = False  #: to the letter
    reported: bool = False
    samples: int = 1
    unwrap: bool = False  #: the answer is read out of reasoning, code fences and tags around it
    path: str = "/v1/messages"
    version: str = "2023-06-01"  #: of the interface
    temperature: float | None = None  #: None: the remote's own
    max_tokens: int = 256  #: that an answer may take; a longer one is cut off and no answer
    extra: Mapping[str, Any] = field(default_factory=dict)  #: further fields of the body

    def build(self, inputs: Sequence[Any]) -> Call:
        if len(inputs) != 1:
            raise InvalidRequest(f"a message takes one input a call, not {len(inputs)}")
        body = orjson.dumps(self._document(values_of(inputs[0], self.fields)))
        headers = {"content-type": "application/json", "anthropic-version": self.version}
        return Call(self.path, body, headers, samples=self.samples)

    def _document(self, values: Mapping[str, Any]) -> dict[str, Any]:
        system = {"system": self.system.render(values)} if self.system else {}
        temperature = {} if self.temperature is None else {"temperature": self.temperature}
        tool = {"tools": [_tool(self.labels)], "tool_choice": {"type": "tool", "name": _TOOL}} if self.reported else {}
        return {
            "model": self.model,
            "max_tokens": self._most_tokens,
            **system,
            "messages": [{"role": "user", "content": self.prompt.render(values)}],
            **temperature,
            **tool,
            **self.extra,
        }

    @property
    def _most_tokens(self) -> int:
        """Of one answer. A label and the call of the tool around it must fit in: a token is a byte at least."""
        if not self.reported:
            return self.max_tokens
        return max(self.max_tokens, _TOOL_TOKENS + max((len(label.encode()) for label in self.labels), default=0))

    def most_answer_tokens(self, asked: int) -> int:
        """All that the answers of one call may take."""
        return asked * self._most_tokens

    def estimate(self, inputs: Sequence[Any]) -> int:
        """A token per four bytes of the messages, and all the tokens that the answers may take."""
        values = [values_of(given, self.fields) for given in inputs]
        messages = [part.render(each) for each in values for part in (self.prompt, self.system) if part]
        size = sum(len(message.encode()) for message in messages) + len(inputs) * _TOOL_BYTES * self.reported
        return tokens_in(size) + len(inputs) * self._most_tokens

    def raise_for(self, response: Response) -> None:
        if not response.succeeded:
            raise_for_status(response, *complaint_in(response.body))

    def read(self, response: Response, asked: int) -> Reply:
        if asked != 1:
            raise InvalidAnswer(f"one answer instead of {asked}")
        try:
            message = decoded(_message.decode, response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = complaint_in(response.body).text
            raise NotAnAnswer(f"the answer cannot be read: {error}{said and ': ' + said}") from error
        self._raise_unless_whole(message)
        answer = self._reported(message) if self.reported else Answer(self._told(message), None)
        model = message.model if isinstance(message.model, str) else ""
        return Reply([answer], brief(model or self.model), _usage(message.usage))

    def _raise_unless_whole(self, message: _Message) -> None:
        ended, content = message.stop_reason, message.content
        if is_withheld(ended):
            raise Refused(f"the remote withholds the answer: it ended with {ended!r}: {_shown(text_in(content))}")
        if is_whole(ended, [_CALLED] if self.reported else ()):
            return
        kind = BrokenOff if isinstance(ended, str) and ended.lower() in FAILED else InvalidAnswer
        hint = "; raise max_tokens" if is_cut(ended) else ""
        raise kind(f"the answer ended with {brief(ended)!r} and is not whole: {_shown(text_in(content))}{hint}")

    def _told(self, message: _Message) -> Any:  # noqa: ANN401  # any JSON value
        content = text_in(message.content)
        if not content.strip():
            raise InvalidAnswer("the answer is empty")
        text = unwrapped(content, alone=not self.labels) if self.unwrap else content
        if not text:
            raise InvalidAnswer(f"the answer is reasoning that has not ended: {_shown(content)}")
        return one_of(text, self.labels, exact=self.exact)

    def _reported(self, message: _Message) -> Answer:
        """What the tool was called with."""
        called = [
            part.get("input")
            for part in message.content
            if isinstance(part, dict) and part.get("type") == _CALLED and part.get("name") == _TOOL
        ]
        given = called[0] if len(called) == 1 else None
        if not isinstance(given, dict) or given.get(_LABEL) is None:
            raise InvalidAnswer(f"the answer calls no tool with a label: {_shown(message.content)}")
        score = _sureness(given.get(_CONFIDENCE))
        unscored = "" if score is not None else "the model does not say how sure it is, from 0 to 1"
        return Answer(one_of(given[_LABEL], self.labels, exact=self.exact), score, unscored)


def _tool(labels: Sequence[str]) -> dict[str, Any]:
    named = {"type": "string", "enum": list(labels)} if labels else {"type": "string"}
    sure = {"type": "number", "description": "the probability that the label is right, from 0 to 1"}
    return {
        "name": _TOOL,
        "description": "Your answer, and how sure of it you are, from 0 to 1.",
        "input_schema": {
            "type": "object",
            "properties": {_LABEL: named, _CONFIDENCE: sure},
            "required": [_LABEL, _CONFIDENCE],
        },
    }


def _sureness(told: Any) -> float | None:  # noqa: ANN401  # any JSON value
    """A number from 0 to 1; None for anything else."""
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 <= told <= 1:
        return None
    return usable(float(told))


def _shown(said: Any) -> str:  # noqa: ANN401  # any JSON value
    """What the answer was, shortened."""
    return repr(brief(said)[:_SHOWN_CHARS])


def _usage(usage: Any) -> Usage | None:  # noqa: ANN401  # any JSON value
    """The tokens: what was read from a cache, or kept in one, is not among the `input_tokens` of this interface."""
    if usage is None:
        return None
    if not isinstance(usage, dict):
        return Usage(usage)  # no count of anything: whoever reads it says so
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    read, cached, kept, written = (usage.get(name) or 0 for name in names)
    counts = [read, cached, kept]
    whole = sum(counts) if all(isinstance(count, int) for count in counts) else read
    return Usage(whole, written, cached, cache_write_tokens=kept)
