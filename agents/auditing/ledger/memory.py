"""What an auditor remembers: requests and votes that are not too old to matter, each at its place in its topic.

Both are remembered from some offset on, without a gap: so whoever reads the topics from there remembers the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ....schemas.audits import Label
from ....schemas.closings import Taken
from ..drawn import Drawn, Rights
from ..votes import Ballot


@dataclass(slots=True, eq=False)
class Request:
    """A drawn request."""

    source: str
    partition: int  #: of `audits`
    offset: int
    at_ms: int  #: when it ended, by the broker's clock
    version: str  #: of the thresholds that judged it; '' where none did
    drawn: Drawn | None  #: while its label is waited for
    waits: bool = False  #: a label is waited for
    rights: Rights | None = None  #: what the votes say by now
    people: int = 0  #: who voted

    @property
    def order(self) -> tuple[int, int, int]:
        """In which order evidence is taken in."""
        return (self.at_ms, self.partition, self.offset)


@dataclass(slots=True, eq=False)
class Vote:
    """A vote about a request, which may not be known yet."""

    source: str
    offset: int  #: in `labels`
    at_ms: int  #: when it was written, by the broker's clock
    label: Label
    counts: bool  #: it is for a label that there is
    known: bool = False  #: its request was drawn


class Memory:
    """Requests by their source, and the votes about each."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.strangers = 0  #: votes that are held and whose request is not known
        self._by_partition: dict[int, deque[Request]] = {}
        self._votes: deque[Vote] = deque()
        self._about: dict[str, list[Vote]] = {}

    def add(self, request: Request) -> Request | None:
        """Remember a request. Of two with one source the later one counts; returns the other."""
        self._by_partition.setdefault(request.partition, deque()).append(request)
        other = self.requests.get(request.source)
        if other is not None and other.order > request.order:
            return request
        self.requests[request.source] = request
        for vote in self._about.get(request.source, ()):
            self.strangers -= not vote.known
            vote.known = True
        return other

    def hold(self, vote: Vote) -> None:
        """Remember a vote."""
        vote.known = vote.source in self.requests
        self.strangers += not vote.known
        self._votes.append(vote)
        self._about.setdefault(vote.source, []).append(vote)

    def ballot(self, request: Request, within_ms: int) -> Ballot | None:
        """The votes about a request that came in time; None where there are none."""
        counted = [
            vote.label
            for vote in self._about.get(request.source, ())
            if vote.counts and vote.at_ms < request.at_ms + within_ms
        ]
        if not counted:
            return None
        ballot = Ballot()
        for label in counted:
            ballot.take(label)
        return ballot

    @property
    def votes(self) -> Iterator[Vote]:
        """Those that are held."""
        return iter(self._votes)

    def forget_votes(self, before_ms: int) -> list[Vote]:
        """Those that were written until then are held no longer."""
        gone = []
        while self._votes and self._votes[0].at_ms <= before_ms:
            vote = self._votes.popleft()
            about = self._about[vote.source]
            del about[0]
            if not about:
                del self._about[vote.source]
            self.strangers -= not vote.known
            gone.append(vote)
        return gone

    def forget_requests(self, before_ms: int) -> None:
        """Those that ended until then, are settled, and about which no vote is held."""
        for requests in self._by_partition.values():
            while requests and self._is_over(requests[0], before_ms):
                gone = requests.popleft()
                if self.requests.get(gone.source) is gone:
                    del self.requests[gone.source]

    def _is_over(self, request: Request, before_ms: int) -> bool:
        return request.drawn is None and request.at_ms <= before_ms and request.source not in self._about

    def since(self, taken: Taken) -> Taken:
        """Where what is remembered begins; `taken`: where it ends."""
        begins = {str(partition): requests[0].offset for partition, requests in self._by_partition.items() if requests}
        return Taken(taken.audits | begins, self._votes[0].offset if self._votes else taken.labels)
