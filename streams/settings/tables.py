"""The settings: what every key of the configuration means, its default and its bounds.

A table of the file is a class here; those of `[remote]` that belong to one protocol are in `protocol_tables.py`. Keys
that must fit each other are judged in `fit.py`. `file.py` reads them all, `example.py` writes an example of them.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ...agents.answers import Output, scores_for
from ...agents.remote.spending.budget import Per
from ...agents.supervision.arbitration import JOINT
from ...agents.supervision.learned.deferral import LEARNED
from ...agents.supervision.scores import SCORES
from ..kafka.connection import Mechanism, SecurityProtocol
from .protocol_tables import AnthropicOptions, ChatOptions, GenericOptions, TeiOptions
from .protocols import PROTOCOLS, needs_model, own_scores, usual_batch_size, usual_output, usual_score
from .values import (
    MODULE_CALLABLE,
    Count,
    Number,
    address,
    device_name,
    field_path,
    header_name,
    http_url,
    kafka_name,
    model_name,
    no_boolean,
    optional_callable,
    optional_url,
    parsed_threshold,
    picture_shape,
    plain_headers,
    servers,
    upper,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...schemas.records import Route

#: the done-marks of a window must fit into 4,096 characters of commit metadata
MOST_WINDOW_RECORDS = 24_000
#: what the bytes of a request can be, beside what a function of the user's own reads
EVENT_FORMATS = ("json", "json_registry", "avro", "protobuf", "text", "bytes")
#: of these, those whose schemas are in a registry, and those that have no fields
OF_REGISTRY, FIELDLESS = ("avro", "protobuf"), ("text", "bytes")
#: `transaction.max.timeout.ms` of a broker as it comes, seconds
MOST_TRANSACTION_S = 900


def _protocol_name(name: str) -> str:
    if name in PROTOCOLS or MODULE_CALLABLE.fullmatch(name):
        return name
    raise ValueError(f"must be one of {', '.join(PROTOCOLS)}, or module:callable")


def _event_format(name: str) -> str:
    if name in EVENT_FORMATS or MODULE_CALLABLE.fullmatch(name):
        return name
    raise ValueError(f"must be one of {', '.join(EVENT_FORMATS)}, or module:callable")


def _local_protocol(name: str) -> str:
    return _protocol_name(name) if name else name


def _matching(name: str) -> str:
    if name in ("exact", "normalised") or MODULE_CALLABLE.fullmatch(name):
        return name
    raise ValueError("must be exact, normalised, or module:callable")


_Positive = Annotated[Number, Field(gt=0)]
_Seconds = _Positive
_NotNegative = Annotated[Number, Field(ge=0)]
_WholeNumber = Annotated[int, BeforeValidator(no_boolean), Field(ge=0)]
_Milliseconds = Annotated[int, BeforeValidator(no_boolean), Field(ge=0)]
_Topic = Annotated[str, AfterValidator(kafka_name)]
_Name = Annotated[str, Field(min_length=1)]
_FieldPath = Annotated[str, AfterValidator(field_path)]
_SentField = Annotated[_Name, AfterValidator(field_path)]
_Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(upper)]


class _Table(BaseModel):
    """One table of the file: frozen, and closed to keys that are not listed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Table):
    """How to reach the broker, and how long it may take."""

    bootstrap_servers: Annotated[str, AfterValidator(servers)] = Field(
        default="127.0.0.1:9092", description="brokers to ask first, host:port, separated by commas"
    )
    security_protocol: Annotated[SecurityProtocol, BeforeValidator(upper)] = Field(
        default="PLAINTEXT",
        description="PLAINTEXT, SSL (encrypted), SASL_PLAINTEXT (with a password), or SASL_SSL (both)",
    )
    sasl_mechanism: Annotated[Mechanism, BeforeValidator(upper)] = Field(
        default="SCRAM-SHA-512",
        description="how we log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with a password; OAUTHBEARER with a token",
    )
    sasl_username: str = Field(default="", description="user to log in as, with SASL")
    sasl_password: SecretStr | None = Field(default=None, description="its password, from the environment only")
    sasl_password_file: str = Field(default="", description="file that holds its password; '' for none")
    sasl_oauth_url: Annotated[str, AfterValidator(optional_url)] = Field(
        default="", description="token endpoint that gives programs a token, with OAUTHBEARER; '' for none"
    )
    sasl_oauth_client_id: str = Field(default="", description="who we are to the token endpoint")
    sasl_oauth_client_secret: SecretStr | None = Field(
        default=None, description="the secret for the token endpoint, from the environment only"
    )
    sasl_oauth_client_secret_file: str = Field(default="", description="file that holds that secret; '' for none")
    sasl_oauth_scope: str = Field(default="", description="what the token is to be good for, as the endpoint names it")
    sasl_oauth_token_file: str = Field(
        default="", description="file with a token that somebody keeps fresh, read for each connection; '' for none"
    )
    sasl_oauth_provider: Annotated[str, AfterValidator(optional_callable)] = Field(
        default="",
        description="module:callable of yours that gives a token, or a pair of a token and when it ends; '' for none",
    )
    sasl_oauth_extensions: dict[str, str] = Field(
        default={}, description='what the broker wants to know beside the token, such as {logicalCluster = "lkc-1"}'
    )
    ssl_ca_file: str = Field(
        default="", description="certificates (PEM) that the broker's is checked against; '' takes the system's"
    )
    ssl_certificate_file: str = Field(
        default="", description="certificate (PEM) to show to the broker, its key included or not; '' for none"
    )
    ssl_key_file: str = Field(default="", description="key (PEM) of that certificate, where it is a file of its own")
    ssl_key_password: SecretStr | None = Field(
        default=None, description="password of that key, from the environment only"
    )
    ssl_key_password_file: str = Field(default="", description="file that holds the password of that key")
    session_timeout_s: _Seconds = Field(
        default=10.0,
        description="seconds without a heartbeat after which the broker gives a worker's partitions away",
    )
    rebalance_timeout_s: _Seconds = Field(
        default=60.0, description="seconds a worker has to join a rebalance, draining included"
    )
    request_timeout_s: _Seconds = Field(default=15.0, description="seconds to wait for one answer of the broker")
    start_wait_s: _NotNegative = Field(
        default=60.0, description="seconds that a worker's start waits for a broker before it ends with status 1"
    )


class TopicsSettings(_Table):
    """Names of the topics, and how `topics create` makes them."""

    requests: _Topic = Field(default="requests", description="topic that events are read from")
    doubtful: _Topic = Field(
        default="doubtful", description="internal topic: inputs the local supervisor does not trust"
    )
    answers: _Topic = Field(
        default="answers", description="internal topic: remote answers that are paid and not yet judged"
    )
    results: _Topic = Field(default="results", description="topic that trusted answers are written to")
    fallback: _Topic = Field(default="fallback", description="topic for what cannot be answered, each with its reason")
    budget: _Topic = Field(
        default="budget", description="internal topic of one partition: who may spend what, where there is a [budget]"
    )
    audits: _Topic = Field(
        default="audits",
        description="topic of the requests that are drawn and how they ended, where there is an [audit]",
    )
    labels: _Topic = Field(
        default="labels", description="topic of one partition: what people say is right, where there is an [audit]"
    )
    trust: _Topic = Field(
        default="trust",
        description="topic of one partition: whether the promise is still true, as the auditor says, where there is an "
        "[audit]",
    )
    thresholds: _Topic = Field(
        default="thresholds",
        description="topic of one partition: the versions of the thresholds, where they are followed",
    )
    shadows: _Topic = Field(
        default="shadows",
        description="internal topic: trusted answers about which the remote is asked as well, where there is a "
        "shadow_share",
    )
    partitions: Count = Field(
        default=4, description="partitions of each topic: the most workers that can share the work"
    )
    replication_factor: Count = Field(default=1, description="copies of each partition, 3 on a production cluster")
    min_insync_replicas: Count = Field(
        default=1, description="copies that must have a record before it counts as written"
    )
    retention_hours: _Seconds = Field(default=168.0, description="hours that records are kept")
    max_message_bytes: Count = Field(
        default=1_048_588, description="bytes of the largest batch of records a topic accepts"
    )

    def name_of(self, route: Route) -> str:
        """The topic that an outcome of this route is written to."""
        return {
            "results": self.results,
            "doubtful": self.doubtful,
            "answers": self.answers,
            "fallback": self.fallback,
            "audits": self.audits,
            "shadows": self.shadows,
        }[route]


class StreamSettings(_Table):
    """How records are moved: the promise, the order and the bounds."""

    delivery: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once", description="exactly_once, or at_least_once for brokers without transactions"
    )
    ordering: Literal["key", "none"] = Field(
        default="key", description="key: records of one key leave in order; none: as they finish"
    )
    start: Literal["earliest", "latest"] = Field(
        default="earliest",
        description="where a new pipeline starts; partitions added later start at their earliest record",
    )
    commit_interval_ms: Count = Field(
        default=100, description="milliseconds between two transactions, under load or behind a remote call"
    )
    window_records: Annotated[Count, Field(le=MOST_WINDOW_RECORDS)] = Field(
        default=10_000, description="records of one partition that may be unfinished or done out of order"
    )
    window_bytes: Count = Field(default=67_108_864, description="bytes of the records that one partition may hold")
    drain_s: _NotNegative = Field(default=10.0, description="seconds that work in flight gets on a rebalance or a stop")
    max_tries: Count = Field(default=3, description="times an agent may fail on a record before it goes to fallback")
    transaction_timeout_s: Annotated[_Seconds, Field(le=MOST_TRANSACTION_S)] = Field(
        default=10.0,
        description="seconds for one transaction, or for taking a partition over: then the worker tries again; the "
        "broker aborts what a dead worker left open for so long",
    )
    watchdog_s: _Seconds = Field(
        default=60.0,
        description="seconds in which every fetch fails before the worker ends; a command asks a broker for so long",
    )
    pause_aim_s: _Seconds = Field(
        default=45.0,
        description="seconds that a partition may stand still at most when workers or brokers fail: `check` says where "
        "the other settings allow more",
    )
    fetch_records: Count = Field(default=2_000, description="records taken from the consumer at once")


def _usual(field: str) -> Callable[[dict[str, Any]], str]:
    """The field that is read where none is named; none where a value has no fields."""
    return lambda data: "" if data.get("format") in FIELDLESS else field


class RequestSettings(_Table):
    """Which parts of a request mean what. Names are fields of its JSON value, with dots on the way to those that stand
    further in; '' means none.
    """

    format: Annotated[str, AfterValidator(_event_format)] = Field(
        default="json",
        description="what the bytes of a request are: json; json_registry, which is JSON behind the frame of a schema "
        "registry's serializer; avro or protobuf, with a [registry]; text; bytes; or module:callable, a function of "
        "yours from bytes to a JSON value",
    )
    input: _FieldPath = Field(
        default_factory=_usual("input"),
        description="field with the model's input, such as text or payload.after.text; '' takes the whole value",
    )
    id: _FieldPath = Field(default_factory=_usual("id"), description="field with the user's id; '' where there is none")
    deadline_ms: _FieldPath = Field(
        default_factory=_usual("deadline_ms"),
        description="field with the deadline, milliseconds since epoch; '' for none",
    )
    id_header: str = Field(default="", description="header with the user's id, which wins over the field; '' for none")
    deadline_header: str = Field(
        default="bisupervised-deadline-ms",
        description="header with the deadline, which wins over the field; '' for none",
    )


class RegistrySettings(_Table):
    """The schema registry of events in Avro and Protobuf, and of results in Avro."""

    url: Annotated[str, AfterValidator(optional_url)] = Field(
        default="",
        description="address of Confluent's REST interface, such as http://127.0.0.1:8081; '' for none",
    )
    username: str = Field(default="", description="user to log in as; '' shows the password as a bearer token")
    password: SecretStr | None = Field(default=None, description="its password or token, from the environment only")
    password_file: str = Field(default="", description="file that holds its password or token; '' for none")
    timeout_s: _Seconds = Field(default=10.0, description="seconds to wait for one answer of the registry")


class ResultsSettings(_Table):
    """How the value of a result is written."""

    format: Literal["json", "avro"] = Field(
        default="json",
        description="json; or avro, behind the frame of the [registry], with the schema that `bisupervised schema "
        "result-avro` prints",
    )
    register_schema: bool = Field(
        default=True,
        description="true registers that schema, for TOPIC-value; false waits until somebody has registered it",
    )


def _price_of_prompts(data: dict[str, Any]) -> float:
    return float(data.get("price_per_million_prompt_tokens", 0.0))  # missing where it is faulty itself


class _Asked(_Table):
    """What is asked over HTTP: how the server is spoken to. `[remote]` is, and `[local]` may be."""

    url: Annotated[str, AfterValidator(http_url)] = Field(
        examples=["http://127.0.0.1:8080"], description="base address, such as http://127.0.0.1:8080"
    )
    protocol: Annotated[str, AfterValidator(_protocol_name)] = Field(
        default="open_inference",
        description=f"what the server speaks: {', '.join(PROTOCOLS)}, or module:callable for one of your own",
    )
    # None stands for not given, and ends as ''
    model: str = Field(
        default=None, validate_default=True, examples=["large"], description="the server's name for its model"
    )
    input_name: _Name = Field(default="input", description="name of the input tensor")
    datatype: Literal[
        "BOOL",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "FP16",
        "FP32",
        "FP64",
        "BYTES",
    ] = Field(default="FP32", description="type of the input tensor's elements")
    input_shape: Literal["as_given", "column"] = Field(
        default="as_given",
        description="column sends n inputs of one value each as [n, 1], which Triton's models of text want, not as [n]",
    )
    output_name: _Name = Field(default="probabilities", description="name of the output tensor to read")
    score_output: _Name = Field(
        default="score", description='name of the tensor with one score an input, where output = "scored"'
    )
    exact_labels: bool = Field(
        default=False,
        description="true takes an answer for a label to the letter only; false ignores case, and white space, "
        "punctuation and mark-up around it",
    )
    openai_chat: ChatOptions | None = Field(default=None, description="table for protocol = 'openai_chat'")
    anthropic_messages: AnthropicOptions | None = Field(
        default=None, description="table for protocol = 'anthropic_messages'"
    )
    tei: TeiOptions | None = Field(default=None, description="table for protocol = 'tei'")
    generic_json: GenericOptions | None = Field(default=None, description="table for protocol = 'generic_json'")
    options: dict[str, Any] = Field(default={}, description="table that a protocol of your own is made with")
    api_key: SecretStr | None = Field(default=None, description="the key to the server, from the environment only")
    api_key_file: str = Field(default="", description="file that holds the key to the server; '' for none")
    api_key_header: Annotated[str, AfterValidator(header_name)] = Field(
        default="authorization", description="header that carries the key"
    )
    api_key_scheme: str = Field(default="Bearer", description="word before the key in that header; '' for none")
    headers: Annotated[dict[str, str], AfterValidator(plain_headers)] = Field(
        default={}, repr=False, description="further headers of every call"
    )


#: keys that say how a server is spoken to
OF_SERVERS = tuple(_Asked.model_fields)


class LocalSettings(_Asked):
    """The small model that answers first, and its supervisor."""

    url: Annotated[str, AfterValidator(optional_url)] = Field(
        default="",
        description="address of a server that is the local model, such as http://127.0.0.1:11434; '' for none",
    )
    protocol: Annotated[str, AfterValidator(_local_protocol)] = Field(
        default="",
        description=f"what that server speaks: {', '.join(PROTOCOLS)}, or module:callable, with the keys from "
        "input_name to headers as in [remote]; '' for a model in this process",
    )
    # None stands for not given, and ends as ''
    model: str = Field(
        default=None,
        validate_default=True,
        examples=["my_model:Sentiment"],
        description="module:callable; a folder of Hugging Face's format (./sentiment); or a file of ONNX (.onnx), "
        "torch.export (.pt2) or TorchScript (.pt, .ts); with protocol, the server's name for it",
    )
    call_inputs: Count = Field(
        default_factory=usual_batch_size,
        description="inputs in one call of the server, at most; 8, or 1 where the protocol takes one a call",
    )
    in_flight: Count = Field(default=8, description="calls of the server that a worker has under way at once")
    timeout_s: _Seconds = Field(default=30.0, description="seconds one call of the server may take")
    device: Annotated[str, AfterValidator(device_name)] = Field(
        default="cpu",
        description="where a folder or a file computes: cpu, cuda, cuda:1, mps, or auto, which takes a GPU if it can",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto",
        description="type in which a folder computes; auto: on a GPU as its weights are stored, else float32",
    )
    threads: _WholeNumber = Field(
        default=0, description="threads of the processor for a folder or a file; 0 leaves it to the library"
    )
    labels: tuple[str, ...] = Field(
        default=(),
        description="names of the classes, in the model's order; [] takes the model's own, or answers with numbers",
    )
    output: Output = Field(
        default_factory=lambda data: usual_output(data.get("protocol", "")),
        description="what the model returns for each input: logits, probabilities, scored (a pair of prediction and "
        "score), tokens (a pair of text and its tokens' log-probabilities), or samples (a list of answers); with "
        "protocol, what that gives",
    )
    features: bool = Field(
        default=False,
        description="true reads the features that the model puts out besides: `record` writes them down, and a learned "
        "score may use them",
    )
    temperature: _Positive = Field(
        default=1.0, description="logits are divided by it before they are scored; fitted on labelled data"
    )
    samples: Count = Field(
        default=1,
        description="times a model of classes is asked the same, dropout active, for supervisor = 'agreement'; "
        "a callable without a torch module must be stochastic by itself",
    )
    supervisor: _Name = Field(
        default_factory=lambda data: usual_score(data["protocol"]) if data.get("protocol") else "max_softmax",
        description="name of the score that judges an answer; 'learned' where [thresholds] file holds a learned one",
    )
    threshold: float = Field(examples=[0.8], description="score below this is doubtful and goes to the remote model")
    version: str = Field(default="", description="version of the model, for the records; '' takes the model's own")
    batch_size: Count = Field(default=1_000, description="inputs predicted at once, at most")
    batch_ms: Count = Field(
        default=1_000,
        description="milliseconds that a batch should take the model, at most: slower ones get smaller batches",
    )
    batch_wait_ms: _Milliseconds = Field(default=2, description="milliseconds to wait for a fuller batch")
    predict_timeout_s: _Seconds = Field(
        default=60.0, description="seconds one batch may take before the worker counts as hung"
    )
    warm_up: tuple[Any, ...] = Field(default=(), description="inputs to predict once before the first record")

    @field_validator("model", mode="before")
    @classmethod
    def _model(cls, name: Any, info: ValidationInfo) -> Any:  # noqa: ANN401  # whatever the file held
        if "protocol" not in info.data:  # it is faulty itself
            return name or ""
        protocol = info.data["protocol"]
        if name is None and (not protocol or needs_model(protocol)):
            raise PydanticCustomError("missing", "must not be empty")
        if protocol:
            return name or ""
        return model_name(name) if isinstance(name, str) else name

    @field_validator("supervisor")
    @classmethod
    def _supervisor(cls, name: str, info: ValidationInfo) -> str:
        output = info.data.get("output")  # missing where it is faulty itself
        if protocol := info.data.get("protocol"):
            own = own_scores(protocol, output or "")
            if own is None or name in own or name == LEARNED:
                return name
            raise ValueError(f"must be one of {', '.join(own)}")
        if output == "scored" or name in SCORES or name == LEARNED:  # whether the two fit is asked later, by `unfit`
            return name
        raise ValueError(f"must be one of {', '.join(scores_for(output) if output else sorted(SCORES))}")

    @field_validator("threshold", mode="wrap")
    @classmethod
    def _threshold(cls, value: Any, parse: ValidatorFunctionWrapHandler, info: ValidationInfo) -> float:  # noqa: ANN401  # whatever the file held
        # a learned score is a difference of two probabilities
        free = info.data.get("output") == "scored" or info.data.get("supervisor") == LEARNED
        return parsed_threshold(value, parse, free=free)

    @property
    def own_score(self) -> str:
        """Name of the score that is read off the model's answer where no learned one is."""
        if self.protocol:
            return usual_score(self.protocol) if self.supervisor == LEARNED else self.supervisor
        own = [name for name in scores_for(self.output) if name != "agreement"]
        return own[0] if self.supervisor == LEARNED and own else self.supervisor

    def as_remote(self) -> RemoteSettings:
        """The server as `[remote]` would have it: all that a protocol and a transport are made of."""
        shared = (*_Asked.model_fields, "labels", "temperature")
        given = {key: getattr(self, key) for key in shared if key in self.model_fields_set}
        if self.protocol == "open_inference" and self.output in ("logits", "probabilities", "scored"):
            given["output"] = self.output
        else:
            given.pop("temperature", None)
        needed = {
            "url": self.url or "http://127.0.0.1",
            "protocol": self.protocol,
            "model": self.model or "model",
            "supervisor": self.own_score,
            "batch_size": self.call_inputs,
            "threshold": 0.0,
        }
        return RemoteSettings.model_validate(given | needed)


class RemoteSettings(_Asked):
    """The large model behind a network, and its supervisor."""

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
    temperature: _Positive = Field(
        default=1.0, description="logits are divided by it before they are scored; fitted on labelled data"
    )
    supervisor: _Name = Field(
        default_factory=lambda data: usual_score(data.get("protocol", "")),
        description="name of the score that judges an answer",
    )
    joint_of: _Name = Field(
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
    proxy: Annotated[str, AfterValidator(optional_url)] = Field(
        default="", description="proxy that calls go through, such as http://proxy.example:3128; '' for none"
    )
    proxy_of_environment: bool = Field(
        default=False, description="true takes the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name"
    )
    ssl_ca_file: str = Field(
        default="", description="certificates (PEM) that the server's is checked against; '' takes the system's"
    )
    ssl_certificate_file: str = Field(
        default="", description="certificate (PEM) to show to the server, its key included or not; '' for none"
    )
    ssl_key_file: str = Field(default="", description="key (PEM) of that certificate, where it is a file of its own")
    ssl_key_password: SecretStr | None = Field(
        default=None, description="password of that key, from the environment only"
    )
    ssl_key_password_file: str = Field(default="", description="file that holds the password of that key")
    batch_size: Count = Field(
        default_factory=usual_batch_size,
        description="inputs in one call, at most; 8, or 1 where the protocol takes one a call",
    )
    batch_wait_ms: _Milliseconds = Field(default=10, description="milliseconds to wait for a fuller batch")
    batch_bytes: Count = Field(
        default=1_000_000, description="bytes of the requests in one call, at most; one alone may be larger"
    )
    in_flight: Count = Field(
        default=32,
        description="calls of the whole fleet that may be under way at once; a worker has its partitions' share",
    )
    requests_per_minute: _NotNegative = Field(
        default=0.0,
        description="calls of the whole fleet in a minute, at most; 0 leaves it to the server's headers",
    )
    tokens_per_minute: _NotNegative = Field(
        default=0.0,
        description="tokens of the whole fleet in a minute, at most; 0 leaves it to the server's headers",
    )
    limit_window_s: _Seconds = Field(
        default=60.0, description="seconds over which the server counts calls and tokens against their limits"
    )
    breaker_failures: Count = Field(
        default=5, description="failed calls in a row after which the remote counts as down and calls stop"
    )
    breaker_cool_down_s: _Seconds = Field(
        default=10.0, description="seconds without calls before one tries whether the remote is back"
    )
    terminal_cool_down_s: _Seconds = Field(
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
    timeout_s: _Seconds = Field(default=30.0, description="seconds one try may take")
    deadline_s: _Seconds = Field(
        default=120.0,
        description="seconds all tries of one call may take together, not counting while the remote is down",
    )
    tries: Count = Field(default=6, description="times a call is tried, the first included")
    backoff_first_s: _NotNegative = Field(default=0.5, description="seconds to wait before the second try")
    backoff_most_s: _NotNegative = Field(default=8.0, description="seconds to wait between two tries, at most")
    price_per_call: _NotNegative = Field(default=0.0, description="what one call costs, in a currency of your choice")
    price_per_million_prompt_tokens: _NotNegative = Field(
        default=0.0, description="what a million tokens that the server reads cost beside that"
    )
    price_per_million_completion_tokens: _NotNegative = Field(
        default=0.0, description="what a million tokens that the server writes cost beside that"
    )
    price_per_million_cached_tokens: _NotNegative = Field(
        default_factory=_price_of_prompts,
        description="what a million of the tokens read cost that the server had cached; as others where it is not set",
    )
    price_per_million_cache_write_tokens: _NotNegative = Field(
        default_factory=_price_of_prompts,
        description="what a million of the tokens read cost that the server keeps for calls to come; likewise",
    )
    most_answer_tokens: _WholeNumber = Field(
        default=0,
        description="tokens that one answer can have at most, for [budget]; 0 where the protocol knows "
        "(openai_chat, anthropic_messages)",
    )
    cache_records: _WholeNumber = Field(
        default=0,
        description="answers that a worker keeps in memory, so that equal inputs are not paid twice; 0 keeps none",
    )
    cache_bytes: Count = Field(default=67_108_864, description="bytes of the answers that are kept, at most")
    cache_hours: _Positive = Field(default=24.0, description="hours for which an answer is kept, at most")
    max_response_bytes: Count = Field(
        default=1_048_576,
        description="bytes of a response that are read before it is refused; parsing the worst of JSON holds up the "
        "worker for about 50 ms a MiB",
    )

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


class BudgetSettings(_Table):
    """The most that the remote may cost. What is spent is agreed on in a topic, for the whole fleet."""

    money: _NotNegative = Field(
        default=0.0, description="of the currency of the prices, that a period may cost; 0 for no such limit"
    )
    calls: _WholeNumber = Field(
        default=0, description="calls that a period may have, each try counted; 0 for no such limit"
    )
    per: Per = Field(default="day", description="hour, day or month: calendar periods, UTC")
    when_spent: Literal["wait", "fallback", "accept_local"] = Field(
        default="wait",
        description="what happens to doubtful records then: they wait in Kafka for the next period; they fall back as "
        "budget; or the local answer becomes a result with trusted = false, outside every guarantee",
    )
    lease_share: Annotated[_Positive, Field(le=1)] = Field(
        default=0.01, description="share of it that a worker takes at a time, and that its death may forfeit"
    )

    @property
    def limited(self) -> bool:
        """There is a budget."""
        return bool(self.money or self.calls)


class AuditSettings(_Table):
    """A share of the requests is drawn, so that people can say whether the promise is still true."""

    share: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0, description="share of the requests that is audited; 0 for no audit"
    )
    shadow_share: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of the requests that both models answer, those of `share` included: the remote is asked "
        "about trusted inputs, too, when it has nothing else to do; 0 for none, else at least `share`",
    )
    shadow_within_hours: _Seconds = Field(
        default=24.0, description="hours in which the remote is asked about those; then its answer is missing"
    )
    budget_share: Annotated[_Positive, Field(lt=1)] = Field(
        default=0.1, description="share of [budget] that is for them alone; the rest is for all other calls"
    )
    secret: SecretStr | None = Field(
        default=None,
        description="what the draw is keyed with, so that nobody can foresee it; from the environment only",
    )
    secret_file: str = Field(default="", description="file that holds it; '' for none")
    matches: Annotated[str, AfterValidator(_matching)] = Field(
        default="exact",
        description="when an answer is the right one: exact, normalised (but for case, white space and punctuation "
        "around it), or module:callable, called with the answer and the truth",
    )
    labels_to_false_alarm: Annotated[Number, Field(ge=100)] = Field(
        default=10_000.0, description="labels until the alarm is a false one, on average, at least"
    )
    label_within_hours: _Seconds = Field(
        default=168.0, description="hours in which a label is expected; one that comes later is late"
    )
    on_alarm: Literal["tell", "tighten"] = Field(
        default="tell",
        description="what an alarm does: tell says so; tighten also takes a stricter rung of [thresholds] file, and "
        "loosens again on evidence",
    )
    close_every_s: _Seconds = Field(
        default=5.0,
        description="seconds between two closings of the auditor, at least; without new labels, twelve times as many",
    )
    retention_hours: _Seconds = Field(
        default=9600.0, description="hours that audits, labels and trust are kept; 9600 are 400 days"
    )

    @property
    def on(self) -> bool:
        """Requests are drawn."""
        return bool(self.share or self.shadow_share)


class ReviewSettings(_Table):
    """The page on which people label: `bisupervised review`, a process of its own."""

    host: Annotated[str, AfterValidator(address)] = Field(default="127.0.0.1", description="address to listen on")
    port: Annotated[int, BeforeValidator(no_boolean), Field(ge=0, le=65535)] = Field(
        default=8100, description="port to listen on; 0 takes a free one"
    )
    hosts: tuple[_Name, ...] = Field(
        default=(), description="names that people reach the page by, besides localhost and its address"
    )
    reviewers_file: str = Field(
        default="", description="file of who may label, which `bisupervised reviewers add NAME` writes"
    )
    question: _Name = Field(default="What is the right answer?", description="what people are asked about each input")
    classes: tuple[_Name, ...] = Field(
        default=(),
        description="what may be answered, each with a key; [] takes the labels of [local] or of [remote], and any "
        "words where there are none",
    )
    second_look: bool = Field(
        default=True,
        description="true: a label that speaks against the promise counts when a second person has looked; needs two "
        "reviewers",
    )
    lease_minutes: _Seconds = Field(
        default=15.0, description="minutes for which nobody else gets an input that a person looks at"
    )

    @field_validator("classes")
    @classmethod
    def _different(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.strip() for name in names}) < len(names) or any(name != name.strip() for name in names):
            raise ValueError("must differ, without white space around them")
        return names


class ThresholdsSettings(_Table):
    """Where the thresholds come from."""

    file: str = Field(
        default="", description="file of `bisupervised calibrate`, which gives both thresholds; '' for none"
    )
    version: str = Field(
        default="", description="name under which records say which thresholds judged them; '' takes a digest of them"
    )
    follow: bool = Field(
        default=False,
        description="true takes versions from the topic thresholds while the worker runs: each a rung of the file, "
        "chosen by `audit set`, `audit pin`, or by the auditor where [audit] on_alarm = 'tighten'",
    )
    pin: _WholeNumber = Field(
        default=0,
        description="rung of the file that judges, whatever the topic says, counted from 1, the laxest; 0 for none",
    )


class WebSettings(_Table):
    """The worker's page, its health and its metrics."""

    enabled: bool = Field(default=True, description="true serves the page, /live, /ready and /metrics")
    host: Annotated[str, AfterValidator(address)] = Field(
        default="127.0.0.1",
        description="address to listen on; beyond loopback, what shows records needs a token",
    )
    port: Annotated[int, BeforeValidator(no_boolean), Field(ge=0, le=65535)] = Field(
        default=8080,
        description="port to listen on; where it is taken, or a remote on this machine has it, one of the next 19; "
        "0 takes a free one",
    )
    hosts: tuple[_Name, ...] = Field(
        default=(), description="names that people reach the page by, besides localhost and its address"
    )
    token: SecretStr | None = Field(
        default=None, description="what one must know to see records, from the environment only"
    )
    token_file: str = Field(default="", description="file that holds that token; '' for none")
    image_shape: Annotated[tuple[Count, ...], AfterValidator(picture_shape)] = Field(
        default=(),
        description="height and width, and 3 where it has colours, of the picture that an input is when it is a flat "
        "list of numbers; empty for none",
    )
    stalled_s: _Seconds = Field(
        default=150.0,
        description="seconds in which a partition with unfinished records must finish one; else /ready fails",
    )


class LogSettings(_Table):
    """What the worker writes about itself."""

    level: _Level = Field(default="INFO", description="least severity that is written")
    # the attribute cannot be called `json`: pydantic's models have a method of that name
    as_json: bool = Field(default=False, alias="json", description="true writes one JSON object a line")


class Settings(BaseSettings):
    """All settings of a worker. Build it with `load_settings`, or directly in tests."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    name: _Topic = Field(default="bisupervised", description="prefix of consumer groups and transactional ids")
    kafka: KafkaSettings = Field(default=KafkaSettings(), description="how to reach the broker")
    topics: TopicsSettings = Field(default=TopicsSettings(), description="names of the topics, and how they are made")
    stream: StreamSettings = Field(default=StreamSettings(), description="how records are moved")
    request: RequestSettings = Field(default=RequestSettings(), description="which parts of a request mean what")
    registry: RegistrySettings = Field(
        default=RegistrySettings(), description="the schema registry of events and results"
    )
    results: ResultsSettings = Field(default=ResultsSettings(), description="how the value of a result is written")
    local: LocalSettings = Field(description="the small model that answers first")
    remote: RemoteSettings = Field(description="the large model behind a network")
    budget: BudgetSettings = Field(default=BudgetSettings(), description="the most that the remote may cost")
    audit: AuditSettings = Field(default=AuditSettings(), description="whether the promise is still true")
    review: ReviewSettings = Field(default=ReviewSettings(), description="the page on which people label")
    thresholds: ThresholdsSettings = Field(default=ThresholdsSettings(), description="where the thresholds come from")
    web: WebSettings = Field(default=WebSettings(), description="the worker's page, its health and its metrics")
    log: LogSettings = Field(default=LogSettings(), description="what the worker writes about itself")

    _read_from: Path | None = PrivateAttr(default=None)

    def read_from(self, path: Path | None) -> Self:
        """Note which file they come from; None for no file."""
        self._read_from = path
        return self

    @property
    def follows(self) -> bool:
        """Versions of the thresholds come from their topic, unless a rung is pinned here."""
        return self.thresholds.follow or self.audit.on_alarm == "tighten"

    @property
    def option(self) -> str:
        """What a command must be given to read the same: ` --config FILE`, or '' where no file was named."""
        return "" if self._read_from is None else f" --config {shlex.quote(str(self._read_from))}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing behind the caller's back: `load_settings` says which file and which environment."""
        return (init_settings,)
