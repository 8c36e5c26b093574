"""Chat completions, as OpenAI, vLLM, Ollama, LiteLLM and many others speak them: `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import orjson

from ....schemas.errors import InvalidAnswer, InvalidRequest
from ...answers import Answer
from ...supervision.sample_scores import agreement, modal
from ...supervision.scores import SCORES, usable
from ..protocol import Call, Reply, Usage, complaint_in, one_of, raise_for_status, tokens_in
from ..transport import Response
from .json_paths import find
from .templates import Template, parse, values_of

ResponseFormat = Literal["text", "json_object", "json_schema"]
#: codes of a 400 that are the remote's refusal to answer this input
_REFUSAL_CODES = ("content_filter", "content_policy_violation")


class _Token(msgspec.Struct):
    logprob: float | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: Any = None  # a count that is none must not cost the answer


_completion = msgspec.json.Decoder(_Completion)


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """One input a call: a prompt is made of it, and the text that comes back is the answer.

    Its score comes from the log-probabilities of its tokens where `score` is given, or from the agreement of
    `samples` answers where they are more than one, and otherwise there is none.
    """

    model: str  #: the remote's name of the model
    prompt: Template = field(default_factory=lambda: parse("{input}"))  #: the user's message
    system: Template | None = None  #: the system's message
    fields: tuple[str, ...] = ()  #: what inputs are made of; (): they are the model's input itself
    labels: tuple[str, ...] = ()  #: the answer is one of these; (): free text
    score: str = ""  #: a name in `SCORES` that reads tokens; '': none
    samples: int = 1
    samples_by: Literal["n", "calls"] = "n"  #: all in one call, or a call each, where a server knows no `n`
    response_format: ResponseFormat = "text"
    json_schema: Mapping[str, Any] | None = None  #: of the answer; for "json_schema"
    answer_path: str = ""  #: where the prediction stands in a JSON answer; '': all of it
    path: str = "/v1/chat/completions"
    temperature: float | None = None  #: None: the remote's own
    max_tokens: int = 256  #: that an answer may take; a longer one is cut off and no answer
    max_tokens_field: str = "max_completion_tokens"  #: "max_tokens" for older servers
    seed: int | None = None
    top_logprobs: int = 5
    extra: Mapping[str, Any] = field(default_factory=dict)  #: further fields of the body

    def build(self, inputs: Sequence[Any]) -> Call:
        if len(inputs) != 1:
            raise InvalidRequest(f"a chat completion takes one input a call, not {len(inputs)}")
        body = orjson.dumps(self._document(values_of(inputs[0], self.fields)))
        times = self.samples if self.samples_by == "calls" else 1
        return Call(self.path, body, {"content-type": "application/json"}, samples=times)

    def _document(self, values: Mapping[str, Any]) -> dict[str, Any]:
        system = [{"role": "system", "content": self.system.render(values)}] if self.system else []
        chosen = {
            "temperature": self.temperature,
            "seed": self.seed,
            "n": self._choices if self._choices > 1 else None,
            "response_format": self._format(),
        }
        # both: some servers return log-probabilities only where top_logprobs is set
        logprobs = {"logprobs": True, "top_logprobs": self.top_logprobs} if self.score else {}
        return {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": self.prompt.render(values)}],
            self.max_tokens_field: self.max_tokens,
            **{name: value for name, value in chosen.items() if value is not None},
            **logprobs,
            **self.extra,
        }

    @property
    def _choices(self) -> int:
        """Answers in one response."""
        return self.samples if self.samples_by == "n" else 1

    def _format(self) -> dict[str, Any] | None:
        if self.response_format == "text":
            return None
        if self.response_format == "json_object":
            return {"type": "json_object"}
        schema = {"name": "answer", "strict": True, "schema": self.json_schema}
        return {"type": "json_schema", "json_schema": schema}

    def most_answer_tokens(self, asked: int) -> int:
        """All that the answers may take."""
        return asked * self._choices * self.max_tokens

    def estimate(self, inputs: Sequence[Any]) -> int:
        """A token per four bytes of the messages, and all the tokens that the answers may take."""
        values = [values_of(given, self.fields) for given in inputs]
        messages = [part.render(each) for each in values for part in (self.prompt, self.system) if part]
        size = sum(len(message.encode()) for message in messages)
        return tokens_in(size) + len(inputs) * self._choices * self.max_tokens

    def raise_for(self, response: Response) -> None:
        if response.succeeded:
            return
        said, code = complaint_in(response.body)
        if response.status == 400 and code in _REFUSAL_CODES:
            raise InvalidAnswer(f"the remote refuses to answer: {said}")
        raise_for_status(response, said, code)

    def read(self, response: Response, asked: int) -> Reply:
        try:
            completion = _completion.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = complaint_in(response.body).text
            raise InvalidAnswer(f"the answer cannot be read: {error}{said and ': ' + said}") from error
        if asked != 1 or len(completion.choices) != self._choices:
            raise InvalidAnswer(f"{len(completion.choices)} answers instead of {self._choices}")
        answer = self._answer(completion.choices)
        return Reply([answer], completion.model or self.model, _usage(completion.usage))

    def _answer(self, choices: Sequence[_Choice]) -> Answer:
        predictions = [self._prediction(choice) for choice in choices]
        if len(predictions) > 1:
            return Answer(modal([predictions])[0], usable(agreement([predictions])[0]))
        return Answer(predictions[0], self._scored(choices[0].logprobs))

    def _prediction(self, choice: _Choice) -> Any:  # noqa: ANN401  # any JSON value
        text = _text(choice)
        if self.response_format == "text":
            return one_of(text, self.labels)
        try:
            found = find(self._document_in(text), self.answer_path)
        except LookupError as error:
            raise InvalidAnswer(f"the answer has no {self.answer_path!r}") from error
        if found is None:
            raise InvalidAnswer(f"{self.answer_path} is null")
        return one_of(found, self.labels)

    def _document_in(self, text: str) -> Any:  # noqa: ANN401  # any JSON value
        """The JSON of an answer. That all of a schema holds is the server's promise; here, that it has the fields."""
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InvalidAnswer(f"the answer is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise InvalidAnswer("the answer is no JSON object")
        missing = [name for name in (self.json_schema or {}).get("required", ()) if name not in document]
        if missing:
            raise InvalidAnswer(f"the answer lacks {', '.join(missing)}")
        return document

    def _scored(self, logprobs: _Logprobs | None) -> float | None:
        """The score, None where the remote gave no log-probability for each token."""
        if not self.score or logprobs is None or not logprobs.content:
            return None
        known = [token.logprob for token in logprobs.content]
        try:
            return usable(SCORES[self.score].compute([known])[0])
        except ValueError as error:
            raise InvalidAnswer(str(error)) from error


def _text(choice: _Choice) -> str:
    """The text of a whole and willing answer."""
    message, ended = choice.message, choice.finish_reason
    if message.refusal:
        raise InvalidAnswer(f"the remote refuses to answer: {message.refusal[:100]}")
    if ended != "stop":
        raise InvalidAnswer(f"the answer ended with {ended!r} and is not whole")
    if message.tool_calls:
        raise InvalidAnswer("the answer calls a tool")
    if message.content is None or not message.content.strip():
        raise InvalidAnswer("the answer is empty")
    return message.content


def _usage(usage: Any) -> Usage | None:  # noqa: ANN401  # any JSON value
    if usage is None:
        return None
    if not isinstance(usage, dict):
        return Usage(usage)  # no count of anything: whoever reads it says so
    cached, reasoning = (usage.get(f"{name}_tokens_details") for name in ("prompt", "completion"))
    return Usage(
        usage.get("prompt_tokens") or 0,
        usage.get("completion_tokens") or 0,
        (cached.get("cached_tokens") if isinstance(cached, dict) else 0) or 0,
        (reasoning.get("reasoning_tokens") if isinstance(reasoning, dict) else 0) or 0,
    )
