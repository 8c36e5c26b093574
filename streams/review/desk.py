"""What a person does on the page, from the click to the broker: the queue, the records, and the labels together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from ...schemas.audits import Label
from ...schemas.codec import EventReader
from ...schemas.errors import BiSupervisedError
from ..events.documents import SchemaAway, document_of
from ..web.pictures import Picture
from .kafka import NotReached
from .queue import Item, Place, Queue
from .showing import Shape, Shown, show

#: characters of an answer in words, at most
MOST_ANSWER = 10_000


class Inputs(Protocol):
    """Where the records are."""

    async def value(self, place: Place) -> bytes | None: ...


class Labels(Protocol):
    """Where labels are written."""

    async def write(self, label: Label) -> tuple[int, int]: ...


class Unfit(BiSupervisedError):
    """A label that cannot be one. The message says what it must be."""


class Gone(BiSupervisedError):
    """There is no such input any more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What people are asked."""

    question: str
    classes: tuple[str, ...] = ()  #: what may be answered; empty for any words
    second_look: bool = True  #: whether a label that speaks against the promise waits for a second person
    shape: Shape = field(default_factory=Shape)
    reader: EventReader | None = None  #: of events that are no JSON


class Desk:
    """The steps of a person. Each returns the document that the page shows next."""

    def __init__(
        self,
        asked: Asked,
        queue: Queue,
        inputs: Inputs,
        labels: Labels,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked, self._queue, self._inputs, self._labels, self._clock = asked, queue, inputs, labels, clock
        self._shown: dict[str, tuple[Item, Shown]] = {}  # by person

    async def next(self, who: str, taken_back: tuple[str, Any] | None = None) -> dict[str, Any]:
        """What this person looks at now, without a word of what the models said. Raises `NotReached`.

        `taken_back`: the input of which this person has just taken something back, and what that was.
        """
        while (item := self._queue.next(who, self._clock())) is not None:
            shown = await self._look(who, item)
            if shown is not None:
                source, former = taken_back or ("", None)  # somebody else may have that input now
                return self._document(who, item, shown, former if source == item.drawn.source else None)
            self._queue.drop(item.drawn.source)
        self._shown.pop(who, None)
        return self._document(who, None, None, None)

    async def label(self, who: str, source: str, truth: Any) -> dict[str, Any]:  # noqa: ANN401  # what the page sent
        """Write a label, and go on when the broker has it. Raises `Unfit`, `Gone` and `NotReached`."""
        answer = self._answer(truth)
        if not self._queue.knows(source):
            raise Gone("this input needs no label any more")
        await self._write(Label(source, answer, who, second_look=self._asked.second_look))
        self._queue.labelled(who, source, self._clock())
        return await self.next(who) | {"saved": answer}

    async def skip(self, who: str, source: str) -> dict[str, Any]:
        """Leave an input to somebody else. Raises `NotReached`."""
        if self._queue.knows(source):
            self._queue.skip(who, source)
        return await self.next(who)

    async def skipped(self, who: str) -> dict[str, Any]:
        """Show again what was skipped. Raises `NotReached`."""
        self._queue.unskip(who)
        return await self.next(who)

    async def undo(self, who: str) -> dict[str, Any]:
        """Take the last step back: a label is withdrawn in the topic. Raises `NotReached`."""
        step = self._queue.last_step(who)
        if step is None:
            return await self.next(who)
        former = self._queue.said(who, step.source)
        if not step.skipped:
            await self._write(Label(step.source, None, who, withdrawn=True))
        self._queue.take_back(who, step, self._clock())
        return await self.next(who, (step.source, former))

    def picture(self, who: str, name: str) -> Picture | None:
        """A picture of the input that this person looks at."""
        found = self._shown.get(who)
        return None if found is None else found[1].picture(name)

    def _answer(self, truth: Any) -> str:  # noqa: ANN401  # what the page sent
        if not isinstance(truth, str) or not truth.strip():
            raise Unfit("an answer is a text, and is not empty")
        answer = truth.strip()
        if self._asked.classes and answer not in self._asked.classes:
            raise Unfit(f"an answer is one of {', '.join(self._asked.classes)}")
        if len(answer) > MOST_ANSWER:
            raise Unfit(f"an answer has {MOST_ANSWER:,} characters at most")
        return answer

    async def _write(self, label: Label) -> None:
        offset, at_ms = await self._labels.write(label)
        self._queue.vote(label, offset, at_ms)

    async def _look(self, who: str, item: Item) -> Shown | None:
        known = self._shown.get(who)
        if known is not None and known[0] == item:
            return known[1]
        value = await self._inputs.value(item.place)
        if value is None:
            return None
        self._shown[who] = item, show(await self._read(value), self._asked.shape)
        return self._shown[who][1]

    async def _read(self, value: bytes) -> Any:  # noqa: ANN401  # a request may hold anything
        """Raises `NotReached` while a schema is missing."""
        try:
            return await document_of(value, self._asked.reader)
        except SchemaAway as error:
            raise NotReached(str(error)) from error

    def _document(self, who: str, item: Item | None, shown: Shown | None, former: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
        task = None
        if item is not None and shown is not None:
            task = {
                "source": item.drawn.source,
                "input": [part.document() for part in shown.input],
                "rest": [part.document() for part in shown.rest],
                "former": former,
            }
        return {
            "who": who,
            "question": self._asked.question,
            "classes": self._asked.classes,
            "task": task,
            "progress": asdict(self._queue.progress(who)) | {"undo": self._queue.last_step(who) is not None},
        }
