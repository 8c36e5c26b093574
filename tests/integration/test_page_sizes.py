"""The page with figures, names and errors as large as they get: nothing is cut off, nothing covers anything else.

No worker runs: a server hands out the files of the page and one made status. The browser does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import orjson
import pytest
from bisupervised.streams.web.history import History
from bisupervised.streams.web.page_files import read_static
from bisupervised.streams.web.status import About, status
from support.browser import chromium, console_errors, look, missing, required
from support.pipeline import wait_until
from support.views import BUDGET, whole_worker

if missing() and not required():
    pytest.skip(str(missing()), allow_module_level=True)

AGENTS = ("local", "remote", "remote_supervisor")
EDGES = (
    *("requests", "local_results", "local_doubtful", "local_fallback", "remote_answers", "remote_fallback"),
    *("remote_supervisor_results", "remote_supervisor_fallback"),
)
LONG = "a-name-that-somebody-has-made-very-long." * 6
#: as they may be: four digits and more, minutes and days, and what nobody expects
RATES = (1.0, 123.4, 1234.0, 9999.0, 123_456.0, 98_765_432.0)
TIMES_S = (0.2, 59.9, 599.0, 3599.0, 86_399.0, 864_000.0)
COUNTS = (7, 1234, 1_234_567, 12_345_678, 1_234_567_890, 123_456_789_012)
WIDTHS = (320, 380, 720, 970, 1280)
SIZES = list(zip(RATES, TIMES_S, COUNTS, strict=True))


def shown_with(rate: float, time_s: float, count: int) -> dict[str, Any]:
    """A status in which every figure has this size, and every name is long."""
    view = whole_worker()
    made: dict[str, Any] = orjson.loads(
        orjson.dumps(status(About(LONG, "1", AGENTS), view, [LONG, "a reason " * 30], History(), {}))
    )
    edges = dict.fromkeys(EDGES, count)
    made["rates"] = dict.fromkeys(EDGES, rate)
    made["counts"] |= {"edges": edges, "requests": count, "untrusted": count, "fallback": count}
    made["counts"]["answered_by"] = {"local": count * 2, "remote": count}
    made["counts"]["reasons"] = dict.fromkeys(("low_confidence", "invalid_request", "remote_error"), count)
    made["chart"] = [[rate, rate, rate]] * 120
    times = {"p50": time_s, "p95": time_s, "p99": time_s, "count": count}
    made["latency"] = {"local": times, "remote": times, "fallback": times}
    made["money"] |= {"asked": count, "calls": count, "spent": count * 1.5, "saved": count * 1.5}
    made["money"] |= {"remote_only": count * 3.0, "calls_avoided": count}
    made["remote"] |= {"in_flight": count, "waiting": count, "held": count, "said": LONG[:200], "next_probe_s": time_s}
    budget = {"budget": float(count), "leased": float(count), "charged": float(count)}
    made["remote"]["budget"] = BUDGET | {"money": budget, "calls": budget, "spent": True}
    made["shadows"] |= {"waiting": count, "answered": count, "missing": {"budget": count}, "spent": count * 1.5}
    made["shadows"]["budget"] = made["remote"]["budget"]
    made["remote"]["breaker"] |= {"state": "stopped", "opened": count}
    made["remote"]["limits"] |= {"requests_per_minute": count, "requests_pace": count, "in_flight": count}
    made["partitions"] = [
        one | {"topic": LONG, "lag": count, "unfinished": count, "age_s": time_s, "stopped": LONG, "state": "stopped"}
        for one in made["partitions"]
    ]
    made["crew"] = {"process": 3, "states": {n: ("ready", "unready", "silent")[n % 3] for n in range(1, 65)}}
    said = {"prediction": LONG, "score": 0.123456}
    made["fallbacks"] = [
        one | {"id": LONG, "source": f"{LONG}-0@{count}", "detail": LONG, "local": said, "remote": said, "input": LONG}
        for one in made["fallbacks"]
    ]
    return made


@contextmanager
def serving(told: dict[str, Any]) -> Iterator[str]:
    """The files of the page, and `told["status"]` as the worker's status."""
    static = read_static()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status_page = (orjson.dumps(told["status"], option=orjson.OPT_NON_STR_KEYS), "application/json")
            body, kind = status_page if self.path == "/api/status" else static[self.path]
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
            """Nothing: the test tells what is wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def page() -> Iterator[tuple[Any, dict[str, Any], str]]:
    told: dict[str, Any] = {"status": shown_with(*SIZES[0])}
    with serving(told) as url, chromium() as browser:
        yield browser, told, url


#: what is cut off or covered, as a list of lines for people
FAULTS = """
const faults = new Set(), slack = 1.5;
const box = (one) => one.getBoundingClientRect();
const words = (one) => `${one.closest('[id]')?.id ?? ''} ${one.textContent.trim().slice(0, 40)}`;
const tell = (what, one) => faults.add(`${what}: ${words(one)}`);
const within = (inner, outer) => inner.left > outer.left - slack && inner.right < outer.right + slack;
const beside = (a, b) => a.left >= b.right - slack || b.left >= a.right - slack;
const above = (a, b) => a.top >= b.bottom - slack || b.top >= a.bottom - slack;
const meet = (a, b) => !beside(a, b) && !above(a, b);
const own = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
for (const one of document.querySelectorAll('header *, main *:not(svg *)')) {
  if (!own(one) || !one.checkVisibility() || one.closest('.unseen, .scroll, code')) continue;
  const range = document.createRange();
  range.selectNodeContents(one);
  const card = one.closest('.figure, .fallbacks li, .card, main, header');
  if (!within(box(range), box(card))) tell('leaves its card', one);
}
for (const table of document.querySelectorAll('table:not(.scroll table)')) {
  if (box(table).right > box(table.closest('.card')).right - 8) tell('a table leaves its card', table);
}
for (const svg of document.querySelectorAll('#flow svg')) {
  if (!svg.checkVisibility()) continue;
  const rects = [...svg.querySelectorAll('rect')];
  const texts = [...svg.querySelectorAll('text')].filter((text) => text.textContent);
  for (const text of texts) {
    const at = box(text), home = text.parentNode.querySelector('rect');
    if (!within(at, box(svg))) tell('leaves the flow', text);
    if (home && !within(at, box(home))) tell('is wider than its box', text);
    if (!home && rects.some((rect) => meet(at, box(rect)))) tell('is covered by a box', text);
    if (texts.some((other) => other !== text && meet(at, box(other)))) tell('meets another text', text);
  }
}
if (document.documentElement.scrollWidth > window.innerWidth) tell('is wider than the screen', document.body);
return [...faults];
"""


@pytest.mark.parametrize(("rate", "time_s", "count"), SIZES)
def test_nothing_is_cut_off_however_large_it_is(
    page: tuple[Any, dict[str, Any], str], rate: float, time_s: float, count: int
) -> None:
    browser, told, url = page
    told["status"] = shown_with(rate, time_s, count)
    faults = {}
    browser.get(url)
    ended = f"{count * 4:,}"
    shown = "return document.getElementById('ended').textContent"
    wait_until(lambda: browser.execute_script(shown) == ended, ended, 20)
    for width in WIDTHS:
        look(browser, width=width)
        faults[width] = browser.execute_script(FAULTS)
    assert {width: found for width, found in faults.items() if found} == {}
    assert console_errors(browser) == []


def test_of_a_process_that_does_not_answer_the_page_says_so_and_leads_to_the_others(
    page: tuple[Any, dict[str, Any], str],
) -> None:
    browser, told, url = page
    told["status"] = {"crew": {"process": 1, "states": {"1": "silent", "2": "ready", "3": "unready"}}}
    browser.get(url)
    said = "Process 1 does not answer. Nothing has been seen of it yet."
    wait_until(lambda: text_of(browser, "gone-why") == said, said, 20)
    links = "return [...document.querySelectorAll('#processes a')].map(a => [a.textContent, a.getAttribute('href')])"
    assert browser.execute_script(links) == [
        ["Process 1: no answer", "/?process=1"],
        ["Process 2", "/?process=2"],
        ["Process 3: not ready", "/?process=3"],
    ]
    told["status"] = shown_with(*SIZES[0])
    wait_until(lambda: not text_of(browser, "gone-why"), "that it is back", 20)


@pytest.mark.parametrize(
    ("state", "held", "next_s", "shown"),
    [
        ("closed", 0, None, "up"),
        ("closed", 1, 9.0, "in doubt"),
        ("stopped", 5, 0.0, "refuses all calls"),
        ("open", 0, 3.0, "down: breaker open"),
        ("probing", 2, None, "probing"),
    ],
)
def test_a_remote_in_doubt_says_how_many_wait_why_and_until_when(
    page: tuple[Any, dict[str, Any], str], state: str, held: int, next_s: float | None, shown: str
) -> None:
    browser, told, url = page
    made = shown_with(*SIZES[0])
    made["remote"]["breaker"] |= {"state": state}
    made["remote"] |= {"held": held, "next_probe_s": next_s, "said": "it answered 404: <b>no</b>" if held else ""}
    told["status"] = made
    browser.get(url)
    wait_until(lambda: text_of(browser, "breaker") == shown, shown, 20)
    meters = text_of(browser, "meters")
    assert (f"Refused, waiting for a verdict{held}" in meters) is bool(held)
    assert ("it answered 404: <b>no</b>" in meters) is bool(held)
    assert ("Next probe" in meters) is (next_s is not None)


def text_of(browser: Any, name: str) -> str:  # selenium's driver
    text: str = browser.execute_script(f"return document.getElementById('{name}').textContent")
    return text


def test_a_phone_shows_every_column_of_the_partitions(page: tuple[Any, dict[str, Any], str]) -> None:
    """With figures as they usually are, minutes included; what is longer is scrolled to."""
    browser, told, url = page
    status = shown_with(*SIZES[0])
    usual = {"topic": "requests", "lag": 1543, "unfinished": 543, "age_s": 71.0, "state": "running", "stopped": None}
    status["partitions"] = [one | usual for one in status["partitions"]]
    told["status"] = status
    browser.get(url)
    look(browser, width=375)
    there = "return document.getElementById('partitions').textContent"
    wait_until(lambda: "1m 11s" in browser.execute_script(there), "the partitions", 20)
    box = "document.getElementById('partitions').closest('.scroll')"
    needed, given = browser.execute_script(f"return [{box}.scrollWidth, {box}.clientWidth]")
    assert needed <= given
