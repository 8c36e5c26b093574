from __future__ import annotations

from bisupervised.schemas.closings import LadderTold
from bisupervised.streams.audit.live import notes_on_ladder


def test_it_says_which_rung_judges_and_whether_a_cheaper_one_keeps_the_promise() -> None:
    assert notes_on_ladder(None, 0) == []
    told = LadderTold("made", 3, requests=1200, cheaper=1, calls=0.5, cheaper_calls=0.25)
    standing, cheaper = notes_on_ladder(told, 4)
    assert standing.startswith("ladder: version made is in force, rung 3 of 4; 1,200 audited requests")
    assert cheaper.startswith("the labels certify rung 1 at the same promise")
    assert cheaper.endswith("about 25.0% of the requests, and rung 3 about 50.0%")


def test_where_no_cheaper_one_is_known_nothing_is_said_of_it() -> None:
    (standing,) = notes_on_ladder(LadderTold("made", 3, pinned=True), 4)
    assert "rung 3 of 4, pinned;" in standing
