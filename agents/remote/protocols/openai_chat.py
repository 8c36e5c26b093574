"""Chat completions, as OpenAI, vLLM, Ollama, LiteLLM and many others speak them: `POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np
import orjson

from ....schemas.errors import InvalidAnswer, InvalidRequest, Refused
from ...answers import Answer, Details
from ...supervision.class_scores import softmax_of_label
from ...supervision.sample_scores import agreement, modal
from ...supervision.scores import SCORES, every_score, usable
from ..protocol import Call, Reply, Usage, brief, complaint_in, raise_for_status, tokens_in
from ..retry import FAILED, BrokenOff, NotAnAnswer
from ..transport import Response
from .answer_tokens import AnswerTokens, Unscored, evened, label_probabilities, tokens_of, tokens_told
from .endings import is_cut, is_whole, is_withheld
from .event_streams import whole
from .json_paths import find
from .label_forms import LabelForm
from .labels import named, named_in_form, one_of
from .lenient_json import decoded, document_in
from .templates import Template, parse, values_of
from .wrapping import refusal_in, text_in, unwrapped

ResponseFormat = Literal["text", "json_object", "json_schema"]


#: characters of an answer that are shown where it is refused
_SHOWN_CHARS = 100
#: what to do where labels are cut off
_CUT_HINT = '; raise max_tokens, or, where a label is all that it writes, set finish_reasons = ["{}"]'


# read what is needed: what has no type here may have any shape


class _Message(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: Any = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: Any = None
    usage: Any = None  # a count that is none must not cost the answer


_completion = msgspec.json.Decoder(_Completion)


class _Read(msgspec.Struct):
    """What one choice says."""

    prediction: Any
    text: str  #: of the prediction, as the content has it
    content: str
    logprobs: msgspec.Raw
    after: str = ""  #: what stands behind the text in the content, as far as that is known


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """One input a call: a prompt is made of it, and the text that comes back is the answer.

    Its score comes from the log-probabilities of its tokens where `score` is given, or from the agreement of
    `samples` answers where they are more than one, and otherwise there is none. Where the score reads classes or
    labels, the labels are the classes, each with the probability that its tokens have.
    """

    model: str  #: the remote's name of the model
    prompt: Template = field(default_factory=lambda: parse("{input}"))  #: the user's message
    system: Template | None = None  #: the system's message
    fields: tuple[str, ...] = ()  #: what inputs are made of; (): they are the model's input itself
    labels: tuple[str, ...] = ()  #: the answer is one of these; (): free text
    exact: bool = False  #: to the letter
    score: str = ""  #: a name in `SCORES` that reads tokens, labels or classes; '': none
    samples: int = 1
    samples_by: Literal["n", "calls"] = "n"  #: all in one call, or a call each, where a server knows no `n`
    response_format: ResponseFormat = "text"
    json_schema: Mapping[str, Any] | None = None  #: of the answer; for "json_schema"
    answer_path: str = ""  #: where the prediction stands in a JSON answer; '': all of it
    form: LabelForm | None = None  #: how the server is held to the labels; None: it is not
    unwrap: bool = False  #: the answer is read out of reasoning, code fences and tags around it
    finish_reasons: tuple[str, ...] = ()  #: further words for a whole answer
    path: str = "/v1/chat/completions"
    temperature: float | None = None  #: None: the remote's own
    max_tokens: int = 256  #: that an answer may take; a longer one is cut off and no answer
    max_tokens_field: str = "max_completion_tokens"  #: "max_tokens" for older servers
    seed: int | None = None
    top_logprobs: int = 5
    extra: Mapping[str, Any] = field(default_factory=dict)  #: further fields of the body
    detailed: bool = False  #: every score that the log-probabilities allow comes along
    #: what is the same in every call; made here, once
    _most_tokens: int = field(init=False, repr=False, compare=False)  #: of one answer
    _options: Mapping[str, Any] = field(init=False, repr=False, compare=False)  #: fields of the body

    def __post_init__(self) -> None:
        # a label in its form must fit in: held to it, a model writes no more
        most = max(self.max_tokens, self.form.most_tokens(self.labels) if self.form else 0)
        object.__setattr__(self, "_most_tokens", most)  # frozen
        object.__setattr__(self, "_options", self._made_options())

    def in_detail(self) -> OpenAIChat:
        """The same; every score that the log-probabilities allow comes along. Nothing more is asked for."""
        return replace(self, detailed=True)

    @property
    def simpler(self) -> OpenAIChat | None:
        """The same with an option less, for a server that refuses it; None where there is none to leave out."""
        form = self.form.simpler if self.form else None
        return replace(self, form=form) if form else None

    def __str__(self) -> str:
        return self.form.by if self.form else "openai_chat"

    def build(self, inputs: Sequence[Any]) -> Call:
        if len(inputs) != 1:
            raise InvalidRequest(f"a chat completion takes one input a call, not {len(inputs)}")
        body = orjson.dumps(self._document(values_of(inputs[0], self.fields)))
        times = self.samples if self.samples_by == "calls" else 1
        return Call(self.path, body, {"content-type": "application/json"}, samples=times)

    def _document(self, values: Mapping[str, Any]) -> dict[str, Any]:
        system = [{"role": "system", "content": self.system.render(values)}] if self.system else []
        messages = [*system, {"role": "user", "content": self.prompt.render(values)}]
        return {"model": self.model, "messages": messages, **self._options}

    def _made_options(self) -> dict[str, Any]:
        chosen = {
            "temperature": self.temperature,
            "seed": self.seed,
            "n": self._choices if self._choices > 1 else None,
            "response_format": self._format(),
        }
        # both: some servers return log-probabilities only where top_logprobs is set
        logprobs = {"logprobs": True, "top_logprobs": self.top_logprobs} if self.score else {}
        return {
            self.max_tokens_field: self._most_tokens,
            **{name: value for name, value in chosen.items() if value is not None},
            **logprobs,
            **(self.form.asked(self.labels) if self.form else {}),
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
        return asked * self._choices * self._most_tokens

    def estimate(self, inputs: Sequence[Any]) -> int:
        """A token per four bytes of the messages, and all the tokens that the answers may take."""
        values = [values_of(given, self.fields) for given in inputs]
        messages = [part.render(each) for each in values for part in (self.prompt, self.system) if part]
        size = sum(len(message.encode()) for message in messages)
        return tokens_in(size) + len(inputs) * self._choices * self._most_tokens

    def raise_for(self, response: Response) -> None:
        if response.succeeded:
            return
        raise_for_status(response, *complaint_in(response.body))

    def read(self, response: Response, asked: int) -> Reply:
        body = whole(response.body)
        try:
            completion = decoded(_completion.decode, body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = complaint_in(body).text
            raise NotAnAnswer(f"the answer cannot be read: {error}{said and ': ' + said}") from error
        if asked != 1 or len(completion.choices) != self._choices:
            raise InvalidAnswer(f"{len(completion.choices)} answers instead of {self._choices}")
        answer = self._answer(completion.choices)
        model = completion.model if isinstance(completion.model, str) else ""
        return Reply([answer], brief(model or self.model), _usage(completion.usage))

    def _answer(self, choices: Sequence[_Choice]) -> Answer:
        found = [self._read_choice(choice) for choice in choices]
        if len(found) > 1:
            predictions = [each.prediction for each in found]
            return Answer(modal([predictions])[0], usable(agreement([predictions])[0]))
        [read] = found
        try:
            return Answer(read.prediction, self._scored(read) if self.score else None, details=self._details(read))
        except Unscored as error:
            return Answer(read.prediction, None, str(error), self._details(read))

    def _read_choice(self, choice: _Choice) -> _Read:
        content = self._content(choice)
        if self.form is not None:
            found = named_in_form(unwrapped(content), self.labels, exact=self.exact)
            return _Read(found.label, found.written, content, choice.logprobs, found.after)
        text = content
        if self.unwrap:
            text = unwrapped(content, alone=self.response_format == "text" and not self.labels)
            if not text:
                raise InvalidAnswer(f"the answer is reasoning that has not ended: {_shown(content)}")
        if self.response_format != "text":
            return _Read(one_of(self._found(text), self.labels, exact=self.exact), text, content, choice.logprobs)
        if self.labels:
            found = named(text, self.labels, exact=self.exact)
            return _Read(found.label, found.written, content, choice.logprobs, found.after)
        return _Read(one_of(text, ()), text, content, choice.logprobs)

    def _content(self, choice: _Choice) -> str:
        """The text of a whole and willing answer."""
        message = choice.message
        content = text_in(message.content)
        refusal = message.refusal or refusal_in(message.content)
        if refusal:
            raise Refused(f"the remote refuses to answer: {brief(refusal)[:_SHOWN_CHARS]}")
        if message.tool_calls:
            raise InvalidAnswer(f"the answer calls a tool: {_shown(message.tool_calls)}")
        ended = choice.finish_reason
        if is_withheld(ended):
            raise Refused(f"the remote withholds the answer: it ended with {ended!r}: {_shown(content)}")
        if not is_whole(ended, self.finish_reasons):
            kind = BrokenOff if isinstance(ended, str) and ended.lower() in FAILED else InvalidAnswer
            hint = _CUT_HINT.format(ended) if self.labels and is_cut(ended) else ""
            raise kind(f"the answer ended with {brief(ended)!r} and is not whole: {_shown(content)}{hint}")
        if not content.strip():
            raise InvalidAnswer("the answer is empty")
        return content

    def _found(self, text: str) -> Any:  # noqa: ANN401  # any JSON value
        """What stands at the answer's path."""
        try:
            found = find(self._document_in(text), self.answer_path)
        except LookupError as error:
            raise InvalidAnswer(f"the answer has no {self.answer_path!r}: {_shown(text)}") from error
        if found is None:
            raise InvalidAnswer(f"{self.answer_path} is null")
        return found

    def _document_in(self, text: str) -> Any:  # noqa: ANN401  # any JSON value
        """The JSON of an answer. That all of a schema holds is the server's promise; here, that it has the fields."""
        try:
            document = document_in(text)
        except ValueError as error:
            raise InvalidAnswer(f"the answer is not JSON: {error}: {_shown(text)}") from error
        if not isinstance(document, dict):
            raise InvalidAnswer(f"the answer is no JSON object: {_shown(text)}")
        missing = [name for name in (self.json_schema or {}).get("required", ()) if name not in document]
        if missing:
            raise InvalidAnswer(f"the answer lacks {', '.join(missing)}: {_shown(text)}")
        return document

    def _scored(self, read: _Read) -> float | None:
        """The score, None where a log-probability is not known. Raises `Unscored` where there is no more to say."""
        place = self._place(read)
        try:
            if SCORES[self.score].input == "tokens":
                return usable(SCORES[self.score].compute([[token.logprob for token in place.answer]])[0])
            return self._scored_as_classes(place, read.prediction)
        except ValueError as error:
            raise Unscored(f"the log-probabilities are none: {error}") from error

    def _place(self, read: _Read) -> AnswerTokens:
        stop = self.extra.get("stop")
        stops = [each for each in (stop if isinstance(stop, list) else [stop]) if isinstance(each, str)]
        return tokens_of(read.text, read.content, tokens_told(bytes(read.logprobs)), stops, after=read.after)

    def _details(self, read: _Read) -> Details | None:
        """Every score that the tokens have, and where the answer is a label the probability of each label."""
        if not (self.detailed and self.score):
            return None
        try:
            place = self._place(read)
            [scores] = every_score("tokens", [[token.logprob for token in place.answer]])
        except (Unscored, ValueError):
            return Details()
        with suppress(Unscored, ValueError):
            return self._label_details(place, read.prediction, scores) if self.labels else Details(scores)
        return Details(scores)

    def _label_details(self, tokens: AnswerTokens, label: str, scores: dict[str, float]) -> Details:
        told = label_probabilities(tokens, self.labels)
        row, index = evened(told), self.labels.index(label)
        [by_label] = every_score("labels", np.array([list(told.values())]), np.array([index]))
        # the scores of classes are about the likeliest one, so they say nothing where that is not the answer
        [by_class] = every_score("classes", np.array([row]), logits=False) if np.argmax(row) == index else [{}]
        return Details(scores | by_label | by_class, row, list(self.labels))

    def _scored_as_classes(self, tokens: AnswerTokens, label: str) -> float | None:
        """By the probability of each label."""
        probabilities = label_probabilities(tokens, self.labels)
        index = self.labels.index(label)
        if self.score == "label_softmax":  # the one score that reads labels
            return usable(softmax_of_label(list(probabilities.values()), index))
        row = np.array([evened(probabilities)])
        if row[0].argmax() != index:
            raise Unscored("the log-probabilities speak for another label than the answer")
        return usable(SCORES[self.score].compute(row, logits=False)[0])


def _shown(said: Any) -> str:  # noqa: ANN401  # any JSON value
    """What the answer was, shortened."""
    return repr(brief(said)[:_SHOWN_CHARS])


def _usage(usage: Any) -> Usage | None:  # noqa: ANN401  # any JSON value
    if usage is None:
        return None
    if not isinstance(usage, dict):
        return Usage(usage)  # no count of anything: whoever reads it says so
    cached, reasoning = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        usage.get("prompt_tokens") or 0,
        usage.get("completion_tokens") or 0,
        (cached.get("cached_tokens") if isinstance(cached, dict) else 0) or 0,
        (reasoning.get("reasoning_tokens") if isinstance(reasoning, dict) else 0) or 0,
        (cached.get("cache_write_tokens") if isinstance(cached, dict) else 0) or 0,  # OpenRouter tells them
    )
