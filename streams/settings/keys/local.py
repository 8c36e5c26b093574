"""The small model that answers first: `[local]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator
from pydantic_core import PydanticCustomError

from ....agents.answers import Output, scores_for
from ....agents.supervision.learned.deferral import LEARNED
from ....agents.supervision.scores import SCORES
from .certificates import REACHED, Reached
from .protocols import PROTOCOLS, needs_model, own_scores, usual_batch_size, usual_output, usual_score
from .remote import RemoteSettings
from .server import Server, protocol_name
from .values import (
    Count,
    Milliseconds,
    Name,
    Positive,
    Seconds,
    WholeNumber,
    device_name,
    model_name,
    optional_url,
    parsed_threshold,
)


def _local_protocol(name: str) -> str:
    return protocol_name(name) if name else name


class LocalSettings(Reached, Server):
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
    timeout_s: Seconds = Field(default=30.0, description="seconds one call of the server may take")
    device: Annotated[str, AfterValidator(device_name)] = Field(
        default="cpu",
        description="where a folder or a file computes: cpu, cuda, cuda:1, mps, or auto, which takes a GPU if it can",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto",
        description="type in which a folder computes; auto: on a GPU as its weights are stored, else float32",
    )
    threads: WholeNumber = Field(
        default=0,
        description="threads of the processor for a folder or a file; 0: one for a torch file of fewer than 100,000 "
        "weights, else what the library takes",
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
    temperature: Positive = Field(
        default=1.0, description="logits are divided by it before they are scored; fitted on labelled data"
    )
    samples: Count = Field(
        default=1,
        description="times a model of classes is asked the same, dropout active, for supervisor = 'agreement'; "
        "a callable without a torch module must be stochastic by itself",
    )
    supervisor: Name = Field(
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
    batch_wait_ms: Milliseconds = Field(default=2, description="milliseconds to wait for a fuller batch")
    predict_timeout_s: Seconds = Field(
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
        shared = (*Server.model_fields, *REACHED, "labels", "temperature")
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
