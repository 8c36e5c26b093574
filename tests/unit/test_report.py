"""The report as a file: what lets in, what is escaped, what it says where something is unknown, and its size."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from bisupervised.agents.supervision.evaluation import evaluate
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.streams.console.output import OutputError
from bisupervised.streams.report.intervals import interval
from bisupervised.streams.report.markup import text
from bisupervised.streams.report.material import Promise, Scores
from bisupervised.streams.report.writing import report, write_page
from support.reports import ACTING, HOSTILE, drawn, material


class Elements(HTMLParser):
    """The elements of a page, with the text in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_policy_lets_in_what_stands_there_and_nothing_else() -> None:
    page = report(material())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    for kind, content in (("script-src", r"<script>(.*?)</script>"), ("style-src", r"<style>(.*?)</style>")):
        (code,) = re.findall(content, page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_outside() -> None:
    page = report(material())
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    elements = Elements(page)
    assert not [tag for tag, attributes in elements.tags if "src" in attributes or tag in ("iframe", "object", "base")]
    assert [(one["rel"], (one["href"] or "")[:11]) for one in elements.named("link")] == [("icon", "data:image/")]
    assert not [
        tag for tag, attributes in elements.tags for name in attributes if name.startswith("on") or name == "style"
    ]


def test_hostile_text_stays_text() -> None:
    tame, hostile = Elements(report(material())), Elements(report(material(text=HOSTILE)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in tame.tags], "no element more, and none fewer"
    assert not [attributes for _, attributes in hostile.tags if "onerror" in attributes]
    assert not set("\u202e\u0007") & set(report(material(text=HOSTILE)))


@pytest.mark.parametrize("sign", ["\u202e", "\u0007", "\x00", "\u200b", "\ufeff", "\ud800"])
def test_what_would_act_is_spelled_out(sign: str) -> None:
    assert text(f"a{sign}b") == f"a\\u{ord(sign):04x}b"
    assert text("two\r\nlines & <b>") == "two\nlines &amp; &lt;b&gt;"


def test_the_embedded_tables_cannot_end_their_element() -> None:
    page = report(material(text=ACTING))
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert set(msgspec.json.decode(data)) == {"grid", "start", "certified", "promises", "rungs", "usage"}


def test_what_is_promised_is_said_with_its_probability() -> None:
    page = report(material())
    assert "With probability <b>90\u00a0%</b>, both together:" in page
    assert "at most <b>20.0\u00a0%</b> of the trusted answers are wrong" in page
    assert "at most <b>10.0\u00a0%</b> of the right answers are rejected" in page
    assert "2,000 labels" in page
    assert "<b>6,000 more</b>" in page
    assert "promise certified" in page


def test_a_refused_promise_says_why_and_what_is_nearest() -> None:
    why = "too many are wrong; the nearest that can be promised is 0.083"
    page = report(replace(material(), refused=why, promises=(Promise("error", 0.01, 0.9),), toml=""))
    assert "Nothing is promised. Wanted was:" in page
    assert "at most <b>1.0\u00a0%</b> of the trusted answers are wrong" in page
    assert "Too many are wrong; the nearest that can be promised is 0.083." in page
    assert "promise certified" not in page
    assert "There are no thresholds to paste" in page
    assert 'id="copy"' not in page


def test_the_papers_rule_promises_nothing() -> None:
    page = report(replace(material(), promises=(Promise("false_positive_rate", 0.05, None),)))
    assert "Nothing is promised." in page
    assert "promise certified" not in page


def test_what_is_measured_comes_with_its_interval() -> None:
    made = material()
    found = evaluate(made.unseen, Supervisor("", made.chosen.local), Supervisor("", made.chosen.remote))
    page = report(made)
    assert f"{found.answered - found.right:,} of {found.answered:,}; 90\u00a0% interval" in page
    low, high = interval(found.answered - found.right, found.answered)
    assert f"interval {100 * low:.1f}\u00a0% to {100 * high:.1f}\u00a0%" in page


def test_a_learned_score_says_whether_it_was_kept_and_why() -> None:
    page = report(material(text="because"))
    assert 'Learned deferral <span class="tag">left out</span></h3><p>Because.' in page
    scores = Scores({"learned": 0.8, "max_softmax": 0.7}, "learned", "", learned=True, learned_reason="it gains")
    assert 'Learned deferral <span class="tag good">kept</span></h3><p>It gains.' in report(
        replace(material(), scores=scores)
    )


def test_a_score_that_is_no_probability_is_called_that() -> None:
    page = report(material(text="margin"))
    assert page.count("This score is no probability") == 1
    assert page.count('class="ideal"') == 1


def test_what_is_unknown_is_left_out() -> None:
    told = material()
    page = report(replace(told, rungs=(), more_labels=None, answers=replace(told.answers, inputs=None, truths=None)))
    for title in ("The ladder", "<blockquote", "halve the interval"):
        assert title in report(told)
        assert title not in page
    assert "all inputs" in page


@pytest.mark.parametrize(("side", "shown"), [(8, True), (200, False)])
def test_a_small_picture_among_the_examples_is_shown(side: int, shown: bool) -> None:
    pixels = np.random.default_rng(0).random((side, side)).tolist()
    told = material()
    page = report(replace(told, answers=replace(told.answers, inputs=lambda ids: dict.fromkeys(ids, pixels))))
    assert ('<img src="data:image/png;base64,' in page) == shown
    assert ("bytes, too large for this page" in page) != shown


def test_a_hundred_thousand_rows_stay_below_a_megabyte() -> None:
    assert len(report(material(drawn(100_000), "a long text " * 200)).encode()) < 1_000_000


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    write_page(report(material()), tmp_path / "new" / "report.html")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["report.html"]
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"):
        write_page(report(material()), tmp_path / "taken")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new", "taken"]
