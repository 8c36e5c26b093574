from __future__ import annotations

from bisupervised.schemas.closings import AlarmShareTold, LadderTold
from bisupervised.streams.audit.live import notes_on_ladder, notes_on_share


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


def test_it_says_that_more_are_drawn_since_an_alarm_until_when_and_what_that_wants() -> None:
    share = AlarmShareTold(0.05, 3_600_000, 1000)
    raised = LadderTold("4-rung-4-raised-0123456789", 4, raised=True, raised_ms=1_700_000_000_000, raised_labels=120)
    (said,) = notes_on_share(raised, share)
    assert "5.00% of the requests are drawn, until 2023-11-14 23:13:20 UTC at the latest; 120 of 1,000 labels" in said
    assert notes_on_share(LadderTold("made", 3, raised_ms=1, raised_labels=120), share) == []
    assert notes_on_share(raised, None) == notes_on_share(None, share) == []
