"""The large model behind a network, and what it may cost: `[remote]` and `[budget]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator
from pydantic_core import PydanticCustomError

from ....agents.remote.spending.budget import Per
from ....agents.supervision.arbitration import JOINT
from .certificates import Reached
from .protocols import needs_model, own_scores, usual_batch_size, usual_score
from .server import Server
from .table import Table
from .values import (
    Count,
    Milliseconds,
    Name,
    NotNegative,
    Positive,
    Seconds,
    WholeNumber,
    field_path,
    optional_callable,
    optional_duration,
    parsed_threshold,
    seconds_of,
)

_SentField = Annotated[Name, AfterValidator(field_path)]


def _price_of_prompts(data: dict[str, Any]) -> float:
    return float(data.get("price_per_million_prompt_tokens", 0.0))  # missing where it is faulty itself


class RemoteSettings(Reached, Server):
    """The large model behind a network, and its supervisor."""

    mode: Literal["direct", "batch", "both"] = Field(
        default="direct",
        description="direct: inputs are asked as they come; batch: in the batches of [batch], answered within hours; "
        "both: in batches where batch_if_deadline_beyond says so",
    )
    batch_if_deadline_beyond: Annotated[str, AfterValidator(optional_duration)] = Field(
        default="",
        description="with mode = both: inputs whose deadline is further away go into batches, all others are asked as "
        "they come, those without a deadline, too; a number and s, m, h or d, such as 6h",
    )
    send: tuple[_SentField, ...] = Field(
        default=(),
        description="fields of the request that may leave, and no others, dots as in [request]; [] sends the model's "
        "input",
    )
    output: Literal["logits", "probabilities", "scored"] = Field(
        default="probabilities",
        description="what that tensor holds: logits, probabilities (of numbers, or as JSON in texts), or predictions "
        "that score_output scores",
    )
    labels: tuple[str, ...] = Field(
        default=(), description="names of the classes, in the model's order; [] answers with numbers"
    )
    temperature: Positive = Field(
        default=1.0, description="logits are divided by it before they are scored; fitted on labelled data"
    )
    supervisor: Name = Field(
        default_factory=lambda data: usual_score(data.get("protocol", "")),
        description="name of the score that judges an answer",
    )
    joint_of: Name = Field(
        default_factory=lambda data: usual_score(data.get("protocol", "")),
        description="the remote's own score, where the supervisor is joint: it reads that one",
    )
    arbitration: bool = Field(
        default=False, description="take the likelier of the two answers; needs a joint model in [thresholds] file"
    )
    threshold: float = Field(examples=[0.6], description="score below this is rejected and goes to fallback")
    credentials: Annotated[str, AfterValidator(optional_callable)] = Field(
        default="",
        description="module:callable of yours that signs each call, in place of a key: given method, address, headers "
        "and body, it returns the headers to add; '' for none",
    )
    batch_size: Count = Field(
        default_factory=usual_batch_size,
        description="inputs in one call, at most; 8, or 1 where the protocol takes one a call",
    )
    batch_wait_ms: Milliseconds = Field(default=10, description="milliseconds to wait for a fuller batch")
    batch_bytes: Count = Field(
        default=1_000_000, description="bytes of the requests in one call, at most; one alone may be larger"
    )
    in_flight: Count = Field(
        default=32,
        description="calls of the whole fleet that may be under way at once; a worker has its partitions' share",
    )
    requests_per_minute: NotNegative = Field(
        default=0.0,
        description="calls of the whole fleet in a minute, at most; 0 leaves it to the server's headers",
    )
    tokens_per_minute: NotNegative = Field(
        default=0.0,
        description="tokens of the whole fleet in a minute, at most; 0 leaves it to the server's headers",
    )
    limit_window_s: Seconds = Field(
        default=60.0, description="seconds over which the server counts calls and tokens against their limits"
    )
    breaker_failures: Count = Field(
        default=5, description="failed calls in a row after which the remote counts as down and calls stop"
    )
    breaker_cool_down_s: Seconds = Field(
        default=10.0, description="seconds without calls before one tries whether the remote is back"
    )
    terminal_cool_down_s: Seconds = Field(
        default=600.0,
        description="seconds between two probes, at most, while the remote refuses or limits every call: they begin "
        "at breaker_cool_down_s and double",
    )
    probe: str = Field(
        default="",
        description="an input that the remote answers when it is well, as JSON or as text: a probe asks it until an "
        "input was answered; '' asks what waits",
    )
    while_open: Literal["wait", "fallback", "accept_local"] = Field(
        default="wait",
        description="what happens to records while the remote is down: they wait in Kafka; they fall back as "
        "remote_error; or the local answer becomes a result with trusted = false, outside every guarantee",
    )
    timeout_s: Seconds = Field(default=30.0, description="seconds one try may take")
    deadline_s: Seconds = Field(
        default=120.0,
        description="seconds all tries of one call may take together, not counting while the remote is down",
    )
    tries: Count = Field(default=6, description="times a call is tried, the first included")
    backoff_first_s: NotNegative = Field(default=0.5, description="seconds to wait before the second try")
    backoff_most_s: NotNegative = Field(default=8.0, description="seconds to wait between two tries, at most")
    price_per_call: NotNegative = Field(default=0.0, description="what one call costs, in a currency of your choice")
    price_per_million_prompt_tokens: NotNegative = Field(
        default=0.0, description="what a million tokens that the server reads cost beside that"
    )
    price_per_million_completion_tokens: NotNegative = Field(
        default=0.0, description="what a million tokens that the server writes cost beside that"
    )
    price_per_million_cached_tokens: NotNegative = Field(
        default_factory=_price_of_prompts,
        description="what a million of the tokens read cost that the server had cached; as others where it is not set",
    )
    price_per_million_cache_write_tokens: NotNegative = Field(
        default_factory=_price_of_prompts,
        description="what a million of the tokens read cost that the server keeps for calls to come; likewise",
    )
    most_answer_tokens: WholeNumber = Field(
        default=0,
        description="tokens that one answer can have at most, for [budget]; 0 where the protocol knows "
        "(openai_chat, anthropic_messages)",
    )
    cache_records: WholeNumber = Field(
        default=0,
        description="answers that a worker keeps in memory, so that equal inputs are not paid twice; 0 keeps none",
    )
    cache_bytes: Count = Field(default=67_108_864, description="bytes of the answers that are kept, at most")
    cache_hours: Positive = Field(default=24.0, description="hours for which an answer is kept, at most")
    max_response_bytes: Count = Field(
        default=1_048_576,
        description="bytes of a response that are read before it is refused; parsing the worst of JSON holds up the "
        "worker for about 50 ms a MiB",
    )

    @property
    def batches(self) -> bool:
        """Inputs may go into batches."""
        return self.mode != "direct"

    @property
    def batch_beyond_s(self) -> float | None:
        """How far away a deadline must be for a batch, seconds; None where every input goes into one."""
        return seconds_of(self.batch_if_deadline_beyond) if self.mode == "both" else None

    @property
    def own_score(self) -> str:
        """Name of the score that is read off the remote's answer, whoever judges it."""
        return self.joint_of if self.supervisor == JOINT else self.supervisor

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, name: Any, info: ValidationInfo) -> Any:  # noqa: ANN401  # whatever the file held
        if name or not needs_model(info.data.get("protocol", "")):
            return "" if name is None else name
        raise PydanticCustomError("missing" if name is None else "string_too_short", "must not be empty")

    @field_validator("supervisor", "joint_of")
    @classmethod
    def _supervisor(cls, name: str, info: ValidationInfo) -> str:
        joint = name == JOINT and info.field_name == "supervisor"
        own = own_scores(info.data.get("protocol", ""), info.data.get("output", ""))
        if joint or own is None or name in own:
            return name
        raise ValueError(f"must be one of {', '.join(own)}")

    @field_validator("threshold", mode="wrap")
    @classmethod
    def _threshold(cls, value: Any, parse: ValidatorFunctionWrapHandler, info: ValidationInfo) -> float:  # noqa: ANN401  # whatever the file held
        free = own_scores(info.data.get("protocol", ""), info.data.get("output", "")) is None
        return parsed_threshold(value, parse, free=free)


class BudgetSettings(Table):
    """The most that the remote may cost. What is spent is agreed on in a topic, for the whole fleet."""

    money: NotNegative = Field(
        default=0.0, description="of the currency of the prices, that a period may cost; 0 for no such limit"
    )
    calls: WholeNumber = Field(
        default=0, description="calls that a period may have, each try counted; 0 for no such limit"
    )
    per: Per = Field(default="day", description="hour, day or month: calendar periods, UTC")
    when_spent: Literal["wait", "fallback", "accept_local"] = Field(
        default="wait",
        description="what happens to doubtful records then: they wait in Kafka for the next period; they fall back as "
        "budget; or the local answer becomes a result with trusted = false, outside every guarantee",
    )
    lease_share: Annotated[Positive, Field(le=1)] = Field(
        default=0.01, description="share of it that a worker takes at a time, and that its death may forfeit"
    )

    @property
    def limited(self) -> bool:
        """There is a budget."""
        return bool(self.money or self.calls)
