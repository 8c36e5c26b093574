"""What the calls to the remote take: how many, how long, how many tokens. Counted as they end, whatever becomes of
their answers. Named as OpenTelemetry names them where it does
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ..histogram import Buckets, Histogram
from .endpoint import error_type
from .protocol import Usage

#: bounds of the histograms, as OpenTelemetry advises them: seconds, and tokens
DURATION_BOUNDS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BOUNDS = tuple(4**power for power in range(14))


class _Timed:
    """One call, from here to the end of the block."""

    __slots__ = ("_began", "_meter")

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __enter__(self) -> Self:
        self._began = self._meter.clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._meter.ended(self._meter.clock() - self._began, error_type(error))


class Meter:
    """Counts the calls of one client."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._durations: dict[str, Histogram] = {}
        self._tokens = {"input": Histogram(TOKEN_BOUNDS), "output": Histogram(TOKEN_BOUNDS)}
        self._retries: Counter[str] = Counter()
        self.implausible = 0  #: calls whose token counts were not believed

    def __repr__(self) -> str:
        return f"<Meter {self.statistics()}>"

    def call(self) -> _Timed:
        """A context around one call."""
        return _Timed(self)

    def ended(self, seconds: float, error: str) -> None:
        """A call has ended, with this error or, '', none."""
        if error not in self._durations:
            self._durations[error] = Histogram(DURATION_BOUNDS_S)
        self._durations[error].observe(seconds)

    def retried(self, reason: str) -> None:
        """A call is made again, for this reason."""
        self._retries[reason] += 1

    def doubted(self) -> None:
        """The remote's token counts of a call cannot be."""
        self.implausible += 1

    def used(self, usage: Usage | None) -> None:
        """What a call was billed for, where the remote tells."""
        if usage is not None:
            self._tokens["input"].observe(usage.prompt_tokens)
            self._tokens["output"].observe(usage.completion_tokens)

    def statistics(self) -> dict[str, Any]:
        """Calls by how they ended, and retries by reason."""
        return {"calls": {error or "answered": one.count for error, one in self.durations.items()}} | {
            "retries": dict(self._retries)
        }

    @property
    def durations(self) -> dict[str, Buckets]:
        """Seconds that calls took, by how they ended; '' for an answer."""
        return {error: histogram.snapshot() for error, histogram in self._durations.items()}

    @property
    def tokens(self) -> dict[str, Buckets]:
        """Tokens of the calls for which the remote tells them, `input` and `output`."""
        return {kind: histogram.snapshot() for kind, histogram in self._tokens.items()}
