"""The page in Chromium, over a worker on real Kafka that has answered, doubted, rejected and refused.

One pipeline and one browser serve all tests: each looks at another side of them.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pytest
from bisupervised.streams.sandbox.broker import Broker
from support.browser import chromium, console_errors, look, missing, poor_contrast, required
from support.pipeline import Pipeline, Sent, Worker, mixed, remote_and_pipeline, request, wait_until
from support.views import AUDIT, BUDGET, THRESHOLDS

if missing() and not required():
    pytest.skip(str(missing()), allow_module_level=True)

pytestmark = pytest.mark.long(30)  # all of them
INPUTS = 90
WIDE, PHONE = 1280, 380
SCRIPT = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
#: turns the direction of what follows, and rings
ACTING = "\u202egnp.exe\u0007"
#: 8 x 8 grey levels, for which the local model has no answer
PICTURE = [[x / 8 for x in range(8)] for _ in range(8)]
HOSTILE = (
    request(1, remote=0.4)._replace(value=orjson.dumps({"input": [1, 0.5, 0.4, 0], "id": SCRIPT + ACTING})),
    Sent(f'{{"id": 1, "{SCRIPT}'.encode(), b"k"),
    Sent(b"\x00\xff\xfe<b onclick=alert(1)>", b"k"),
    Sent(orjson.dumps({"input": PICTURE}), b"picture"),
)
LOOKS = [(width, dark) for width in (WIDE, PHONE) for dark in (False, True)]


@dataclass
class Shown:
    """The page, and what stands behind it."""

    browser: Any  # selenium's driver
    pipeline: Pipeline
    worker: Worker
    sent: int  #: requests sent so far

    def run(self, script: str) -> Any:
        """Run it in the page, and return what it returns."""
        return self.browser.execute_script(script)

    def text(self, name: str) -> str:
        """The text of the element of this id."""
        return str(self.run(f"return document.getElementById('{name}').textContent"))

    def open(self, width: int = WIDE, *, dark: bool = False) -> None:
        """Load it anew, and wait until it shows every request."""
        look(self.browser, width=width, dark=dark)
        self.browser.get(self.worker.page)
        self.wait_for("ended", str(self.sent))

    def wait_for(self, name: str, text: str) -> None:
        wait_until(lambda: self.text(name) == text, f"{text} in {name}", 30, explain=lambda: self.text(name))

    def send(self, records: list[Sent]) -> None:
        self.pipeline.wait_for_outcomes(self.pipeline.send(records))
        self.sent += len(records)


@pytest.fixture(scope="module")
def running(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("page")
    with (
        remote_and_pipeline(broker.bootstrap_servers, folder, stream={"max_tries": 1}) as (_, pipeline),
        chromium() as browser,
    ):
        made = Shown(browser, pipeline, pipeline.ready_worker(), 0)
        made.send(mixed(INPUTS))
        made.send(list(HOSTILE))  # last, for only the newest fallback records are shown
        yield made


@pytest.fixture
def shown(running: Shown) -> Shown:
    running.open()
    console_errors(running.browser)
    return running


def test_the_figures_are_those_of_the_pipeline(shown: Shown) -> None:
    kinds = Counter(outcome.kind for outcome in shown.pipeline.outcomes())
    assert set(kinds) == {"local", "remote", "low_confidence", "invalid_request", "model_error"}
    assert kinds.total() == shown.sent
    assert shown.text("n-local") == str(kinds["local"])
    assert shown.text("n-remote") == str(kinds["remote"])
    assert shown.text("share-local") == f"{100 * kinds['local'] / shown.sent:.1f} %"
    assert shown.text("n-fallback") == str(shown.sent - kinds["local"] - kinds["remote"])
    for reason in ("low_confidence", "invalid_request", "model_error"):
        assert f"{reason} {kinds[reason]}" in shown.text("reason-counts")
    asked = kinds["remote"] + kinds["low_confidence"]
    assert (shown.text("asked"), shown.text("avoided")) == (str(asked), str(kinds["local"]))
    assert shown.text("spent") == f"{0.5 * asked:.2f}"
    assert shown.text("saved") == f"{100 * kinds['local'] / (kinds['local'] + asked):.1f} %"
    assert shown.text("breaker") == "up"
    shown.wait_for("state-text", "ready")


def test_the_flow_has_every_edge_with_its_count(shown: Shown) -> None:
    kinds = Counter(outcome.kind for outcome in shown.pipeline.outcomes())
    rows = shown.run(
        "return [...document.querySelectorAll('#flow-rows tr')].map(r => [...r.children].map(c => c.textContent))"
    )
    counts = {(source, target): count for source, target, _, count in rows}
    assert counts["Requests", "Local model"] == str(shown.sent)
    assert counts["Local model", "Results"] == str(kinds["local"])
    assert counts["Local model", "Fallback"] == str(kinds["invalid_request"] + kinds["model_error"])
    assert counts["Remote supervisor", "Results"] == str(kinds["remote"])
    assert counts["Remote supervisor", "Fallback"] == str(kinds["low_confidence"])
    assert shown.run("return document.querySelectorAll('#flow .wide .rate').length") == len(rows)


def test_every_partition_has_a_row(shown: Shown) -> None:
    names = shown.run("return [...document.querySelectorAll('#partitions th')].map(cell => cell.textContent)")
    roles = ("requests", "doubtful", "answers")
    assert names == [f"{shown.pipeline.topic(role)}-{p}" for role in roles for p in range(shown.pipeline.partitions)]


def test_a_picture_among_the_inputs_is_shown(shown: Shown) -> None:
    def sizes() -> Any:
        return shown.run(
            "return [...document.querySelectorAll('#fallbacks img')].map(i => [i.naturalWidth, i.naturalHeight])"
        )

    wait_until(lambda: sizes() == [[8, 8]], "one picture", explain=lambda: str(sizes()))


def test_hostile_records_stay_text(shown: Shown) -> None:
    assert shown.run("return window.pwned === undefined")
    assert shown.run("return document.querySelectorAll('script').length") == 1
    assert (
        shown.run("return document.querySelectorAll('[onerror], [onclick], #fallbacks b b, #fallbacks script').length")
        == 0
    )
    told = shown.text("fallbacks")
    assert SCRIPT in told, "it is seen as it is written"
    assert "\\u202egnp.exe\\u0007" in told, "what would act is spelled out"
    assert not set("\u202e\u0007\u0000") & set(told)
    assert console_errors(shown.browser) == []


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_it_fits_every_screen_without_an_error(shown: Shown, width: int, dark: bool) -> None:
    shown.open(width, dark=dark)
    assert shown.run("return document.documentElement.scrollWidth") == width, "nothing is wider than the screen"
    kind = "narrow" if width == PHONE else "wide"
    assert shown.run(f"return document.querySelector('#flow .{kind}').getBoundingClientRect().width") > width / 2
    assert poor_contrast(shown.browser) == []
    assert console_errors(shown.browser) == []


def test_a_screen_reader_finds_its_way(shown: Shown) -> None:
    assert shown.run("return document.documentElement.lang") == "en"
    for landmark in ("header", "main", "footer", "nav[aria-label]:not([hidden])", "h1"):
        assert shown.run(f"return document.querySelectorAll('{landmark}').length") == 1, landmark
    levels = shown.run("return [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert shown.run("return document.querySelectorAll('table').length") > 0
    nameless = shown.run(
        """
        const name = (e) => e.getAttribute('aria-label') ?? e.getAttribute('alt') ?? e.textContent.trim();
        const labelled = (e) => document.getElementById(e.getAttribute('aria-labelledby'))?.textContent.trim();
        return [...document.querySelectorAll('a, button, summary, svg, section, [role], #fallbacks img, .scroll')]
          .filter((e) => !['alert', 'status'].includes(e.getAttribute('role')) && !(labelled(e) || name(e)))
          .map((e) => e.outerHTML.slice(0, 80))
        """
    )
    assert nameless == []
    assert shown.run("return [...document.querySelectorAll('table')].filter(t => !t.caption).length") == 0
    assert shown.run("return document.querySelectorAll('th:not([scope])').length") == 0
    assert shown.run("return document.getElementById('state').getAttribute('aria-live')") == "polite"


def test_a_budget_is_shown_where_there_is_one(shown: Shown) -> None:
    shown.run(
        f"""
        const ask = window.fetch;
        window.fetch = async (...asked) => {{
          const status = await (await ask(...asked)).json();
          status.remote.budget = {orjson.dumps(BUDGET).decode()};
          return new Response(JSON.stringify(status));
        }};
        """
    )
    wait_until(lambda: "4.00 of 10.00, 3.00 by this worker" in shown.text("meters"), "the budget", 10)
    names = shown.run("return [...document.querySelectorAll('[role=meter]')].map(bar => bar.ariaLabel)")
    assert "Budget of money" in names
    assert "Budget of calls" not in names, "0 is no limit"


def test_it_says_which_version_judges_who_chose_it_and_what_is_wrong(shown: Shown) -> None:
    shown.open()
    assert shown.text("thresholds") == "Thresholds calibrated"
    told = THRESHOLDS | {"why": SCRIPT, "lost": "no broker", "refused": "made for other scores"}
    shown.run(
        f"""
        const ask = window.fetch;
        window.fetch = async (...asked) => {{
          const status = await (await ask(...asked)).json();
          status.thresholds = {orjson.dumps(told).decode()};
          return new Response(JSON.stringify(status));
        }};
        """
    )
    wait_until(lambda: "rung 4 of 16" in shown.text("thresholds"), "the version", 10)
    said = shown.text("thresholds")
    assert f"1-rung-4-0123456789 · rung 4 of 16, from lax to strict · pin by ann: {SCRIPT}" in said
    assert said.endswith(" pinned topic lost, the last version judges: no broker made for other scores")
    assert shown.run("return window.pwned") is None


def test_it_says_whether_the_promise_is_still_true(shown: Shown) -> None:
    shown.open()
    assert shown.run("return document.getElementById('audit').hidden"), "there is no audit"
    tell(shown, {})
    wait_until(lambda: shown.text("audit-tag") == "no alarm, but too few labels to be sure", "the audit", 10)
    assert shown.text("audit-promise") == "Promised: at most 10.0 % of the trusted answers are wrong."
    assert (shown.text("audit-value"), shown.text("audit-labelled")) == ("8.0 %", "100 of 120")
    assert shown.text("audit-interval") == "95 % sure: 5.0 % to 12.0 %, by 100 labels"
    assert shown.run("return document.querySelectorAll('#audit-chart path').length") == 2
    assert "those after a request that waits for its label count later" in shown.text("audit-hint")
    raised = "Since an alarm 5.0 % of the requests are drawn: 120 of 1,000 labels that this may want."
    assert raised in shown.text("audit-hint")
    assert poor_contrast(shown.browser) == []
    for promise, word in ((0.13, "yes, as far as labels tell"), (0.04, "in doubt, no alarm yet")):
        shown.open()
        tell(shown, {"promise": promise})
        wait_until(partial(says, shown, word), word, 10)
        assert poor_contrast(shown.browser) == []
    shown.open(PHONE)
    tell(shown, {"raised": 2, "last": SCRIPT})
    wait_until(lambda: shown.text("audit-tag") == "alarm: no longer true", "the alarm", 10)
    assert f"raised 2 times, last by the label of {SCRIPT}." in shown.text("audit-hint")
    assert shown.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert shown.run("return window.pwned") is None


def says(shown: Shown, word: str) -> bool:
    return shown.text("audit-tag") == word


def tell(shown: Shown, alarm: dict[str, Any]) -> None:
    """The worker says that of the audit, with an alarm like this."""
    (version,) = AUDIT["versions"]
    told = AUDIT | {"versions": [version | {"alarms": [version["alarms"][0] | alarm]}]}
    shown.run(
        f"""
        const ask = window.fetch;
        window.fetch = async (...asked) => {{
          const status = await (await ask(...asked)).json();
          status.audit = {orjson.dumps(told).decode()};
          return new Response(JSON.stringify(status));
        }};
        """
    )


def test_the_keyboard_reaches_what_can_be_moved(shown: Shown) -> None:
    from selenium.webdriver.common.keys import Keys

    reached = []
    body = shown.browser.find_element("tag name", "body")
    for _ in range(9):
        body.send_keys(Keys.TAB)
        reached.append(shown.run("return document.activeElement.className || document.activeElement.tagName"))
        body = shown.browser.switch_to.active_element
    assert reached[0] == "skip"
    assert {"SUMMARY", "scroll", "A"} <= set(reached)


def test_it_is_live_and_says_when_the_worker_is_gone(shown: Shown) -> None:
    shown.run("window.same = true")
    shown.send(mixed(3))
    shown.wait_for("ended", str(shown.sent))
    shown.worker.signal(signal.SIGSTOP)
    try:
        shown.wait_for("state-text", "worker gone")
        assert shown.run("return document.querySelector('#gone').checkVisibility()")
        assert shown.text("gone-why").startswith("The worker has not answered. What you see is from ")
        assert shown.browser.title.startswith("worker gone")
    finally:
        shown.worker.signal(signal.SIGCONT)
    shown.wait_for("state-text", "ready")
    assert not shown.run("return document.querySelector('#gone').checkVisibility()")
    assert shown.run("return window.same"), "it was never loaded anew"
