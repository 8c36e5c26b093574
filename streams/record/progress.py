"""How far a recording is, what it has cost, what time is left: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .pairs import Tally

#: seconds between two lines where nobody watches a terminal
_LINE_EVERY_S = 10.0


class Watch:
    """A context around the asking. `written` is called whenever rows were written."""

    def __init__(
        self, console: Console, inputs: int, tally: Tally, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._inputs = inputs
        self._tally = tally
        self._clock = clock
        self._before = tally.rows
        self._began = self._told = clock()
        self._bar = Progress(
            TextColumn("  recorded"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("cost {task.fields[cost]:.6g}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=inputs, completed=tally.rows, cost=tally.cost)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def written(self) -> None:
        """Some rows more."""
        self._bar.update(self._task, completed=self._tally.rows, cost=self._tally.cost)
        now = self._clock()
        if not self._console.is_terminal and now - self._told >= _LINE_EVERY_S:
            self._told = now
            self._console.print(f"  {self.line(now)}", markup=False)

    def line(self, now: float) -> str:
        """The same in words."""
        tally = self._tally
        done = tally.rows - self._before
        left_s = (now - self._began) / done * (self._inputs - tally.rows) if done else 0.0
        return f"{tally.rows:,} of {self._inputs:,} recorded, cost {tally.cost:.6g}, {_duration(left_s)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
