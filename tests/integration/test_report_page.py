"""The report in Chromium: both handles by mouse, finger and keys, the figures, hostile text, and every screen.

It needs no broker: a server on this machine serves the files, and counts what is asked for.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bisupervised.agents.supervision.evaluation import evaluate
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.streams.offline.calibrate import CalibrationOptions, Names
from bisupervised.streams.offline.fitting import fit_recording
from bisupervised.streams.report.from_fit import Background, material_of
from bisupervised.streams.report.material import Material, Pair, Promise
from bisupervised.streams.report.writing import report, write_page
from support.browser import chromium, console_errors, look, missing, poor_contrast, required
from support.recorded import of_classes, recorded
from support.reports import HOSTILE, material

if missing() and not required():
    pytest.skip(str(missing()), allow_module_level=True)

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

WIDE, PHONE = 1280, 390
TOLD = material()
LOWEST = Pair(TOLD.chosen.local, float(TOLD.unseen.remote.scores.min()))
REFUSED = replace(TOLD, chosen=LOWEST, toml="", refused="too many are wrong", promises=(Promise("error", 0.01, 0.9),))
WISH = CalibrationOptions(remote_fraction=0.4, false_positive_rate=0.05)
FIT = fit_recording(recorded(*of_classes(4000, 1, hidden=0.8)), WISH, Names(), 0, "2026-12-01T00:00:00+00:00")
PAGES = {
    "told.html": TOLD,
    "hostile.html": material(text=HOSTILE),
    "refused.html": REFUSED,
    "fit.html": material_of(FIT, Background("fit.csv", toml="[thresholds]")),
}
#: figure of the page -> rate of the command's JSON
RATES = {"share": "remote_fraction", "accuracy": "accuracy"}


@dataclass
class Shown:
    """The browser, and what the server was asked for."""

    browser: Any  # selenium's driver
    url: str
    asked: list[str]

    def open(self, page: str = "told.html", width: int = WIDE, *, dark: bool = False) -> None:
        look(self.browser, width=width, dark=dark)
        self.browser.get(self.url + page)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def value(self, name: str) -> float:
        """The exact number behind a figure."""
        return float(self.run("return document.getElementById(arguments[0]).value", name))

    def text(self, name: str) -> str:
        return str(self.run("return document.getElementById(arguments[0]).textContent", name))

    def handle(self, plot: str) -> Any:
        return self.browser.find_element("css selector", f"#{plot} [role=slider]")

    def pair(self) -> tuple[float, float]:
        """Both thresholds where the handles stand, as the page tells them."""
        words = self.text("where").replace(",", "").split()
        return float(words[2]), float(words[4])

    def knob(self, plot: str) -> tuple[float, float]:
        """The middle of a handle's knob in the window."""
        x, y = self.run(
            "const box = document.querySelector(`#${arguments[0]} .knob`).getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]",
            plot,
        )
        return float(x), float(y)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("report")
    for name, made in PAGES.items():
        write_page(report(made), folder / name)
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def end_headers(self) -> None:
            self.send_header("Cache-Control", "no-store")
            super().end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
            """Nothing: the test tells what is wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with chromium() as browser:
            yield Shown(browser, f"http://127.0.0.1:{server.server_port}/", asked)
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def shown(running: Shown) -> Shown:
    running.open()
    console_errors(running.browser)
    return running


def told(made: Material, local: float, remote: float) -> dict[str, Any]:
    """What the command's JSON says of a pair of thresholds on the same inputs."""
    found = evaluate(made.unseen, Supervisor("", local), Supervisor("", remote))
    return {"n": found.n, "rejected": found.rejected / found.n, **found.rates()}


def test_the_figures_are_those_of_the_command_to_the_last_bit(shown: Shown) -> None:
    rates = told(TOLD, TOLD.chosen.local, TOLD.chosen.remote)
    for figure, rate in RATES.items():
        assert shown.value(figure) == rates[rate]
    assert shown.value("rejected") == rates["rejected"]
    assert shown.text("accuracy-of") == f"{100 * rates['error']:.1f}\u00a0% wrong"
    assert shown.text("rejected-of") == f"{100 * rates['false_positive_rate']:.1f}\u00a0% of the right answers"
    assert shown.value("cost") == pytest.approx(1_000_000 * 0.002 * rates["remote_fraction"])
    assert shown.value("latency") == pytest.approx(0.042 + 0.61 * rates["remote_fraction"])
    assert shown.text("standing") == "chosen and certified"
    headline = f"With {100 * rates['remote_fraction']:.1f}\u00a0% of the calls, {100 * rates['accuracy']:.1f}\u00a0% of"
    assert shown.text("headline").startswith(headline)


def test_a_fit_is_shown_with_the_numbers_of_its_json(shown: Shown) -> None:
    shown.open("fit.html")
    document = FIT.as_json()
    assert {figure: shown.value(figure) for figure in RATES} == {name: document[rate] for name, rate in RATES.items()}
    assert shown.text("accuracy-of") == f"{100 * document['error']:.1f}\u00a0% wrong"
    assert shown.text("rejected-of") == f"{100 * document['false_positive_rate']:.1f}\u00a0% of the right answers"
    assert shown.pair() == pytest.approx((document["local_threshold"], document["remote_threshold"]), rel=1e-5)
    assert document["score"] == "learned"
    chosen = shown.browser.find_element("css selector", ".area.taken").text
    assert chosen.startswith("learned")
    assert chosen.endswith(f"{PAGES['fit.html'].scores.areas['learned']:.3f}")


def check_figures(shown: Shown) -> None:
    rates = told(TOLD, *shown.pair())
    assert {figure: shown.value(figure) for figure in RATES} == {figure: rates[rate] for figure, rate in RATES.items()}
    assert shown.value("rejected") == rates["rejected"]


def test_the_first_handle_is_dragged_by_the_mouse(shown: Shown) -> None:
    before = shown.value("share")
    drag(shown, "first", 130)
    assert shown.value("share") > before + 0.1
    check_figures(shown)
    assert shown.text("standing") == "moved"
    assert "--remote-fraction" in shown.text("how")
    shown.run("document.getElementById('reset').click()")
    assert shown.value("share") == before
    assert shown.text("standing") == "chosen and certified"


def drag(shown: Shown, plot: str, by: int) -> None:
    chain = ActionChains(shown.browser, duration=20)
    shown.run("document.getElementById(arguments[0]).scrollIntoView({block: 'center'})", plot)
    x, y = shown.knob(plot)
    pointer: Any = chain.w3c_actions.pointer_action  # selenium has no types here
    pointer.move_to_location(int(x), int(y)).pointer_down()
    pointer.move_to_location(int(x) + by // 2, int(y)).move_to_location(int(x) + by, int(y)).pointer_up()
    chain.w3c_actions.perform()


def test_the_second_handle_is_dragged_by_the_mouse(shown: Shown) -> None:
    before = shown.value("rejected")
    drag(shown, "second", 60)
    assert shown.value("rejected") > before
    check_figures(shown)
    drag(shown, "second", -400)
    assert shown.value("rejected") == 0.0
    check_figures(shown)


def test_a_finger_drags_too(shown: Shown) -> None:
    shown.open(width=PHONE)
    shown.run("document.getElementById('first').scrollIntoView({block: 'center'})")
    before = shown.value("share")
    x, y = shown.knob("first")
    for kind, at in (("touchStart", x), ("touchMove", x + 40), ("touchMove", x + 80), ("touchEnd", None)):
        points = [] if at is None else [{"x": at, "y": y}]
        shown.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert shown.value("share") > before + 0.1
    check_figures(shown)


def test_the_keys_move_both_handles(shown: Shown) -> None:
    for plot, figure in (("first", "share"), ("second", "rejected")):
        handle, seen = shown.handle(plot), [shown.value(figure)]
        for key in (Keys.ARROW_RIGHT, Keys.PAGE_UP, Keys.ARROW_LEFT, Keys.PAGE_DOWN, Keys.HOME):
            handle.send_keys(key)
            seen.append(shown.value(figure))
            check_figures(shown)
        assert seen[0] < seen[1] < seen[2] > seen[3] > seen[4] > seen[5] == 0.0
        if plot == "first":
            handle.send_keys(Keys.END)
            assert (shown.value("share"), shown.text("where").split(",")[0]) == (
                1.0,
                "First threshold above every score",
            )
            shown.run("document.getElementById('reset').click()")


def test_a_screen_reader_hears_where_a_handle_stands(shown: Shown) -> None:
    handle = shown.handle("first")
    names = ("role", "aria-label", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext", "tabindex")
    assert all(handle.get_attribute(name) is not None for name in names)
    before = handle.get_attribute("aria-valuetext")
    handle.send_keys(Keys.PAGE_UP)
    assert handle.get_attribute("aria-valuetext") != before
    assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(100 * shown.value("share"), abs=0.06)


def test_without_deferred_inputs_there_is_nothing_to_reject(shown: Shown) -> None:
    shown.handle("first").send_keys(Keys.HOME)
    assert shown.text("second").endswith("Nothing goes to the remote here, so there is nothing to reject.")
    shown.handle("second").send_keys(Keys.ARROW_RIGHT)
    assert shown.handle("second").get_attribute("aria-disabled") == "true"
    assert (shown.value("share"), shown.value("rejected")) == (0.0, 0.0)


def test_the_bill_follows_what_is_typed(shown: Shown) -> None:
    share = shown.value("share")
    for typed in ("250,000", "250 000"):
        write(shown, "requests", typed)
        assert shown.value("cost") == pytest.approx(250_000 * 0.002 * share)
    for typed in ("0.5", "0,5"):
        write(shown, "price", typed)
        assert shown.value("cost") == pytest.approx(250_000 * 0.5 * share)
    for wrong in ("many", "-3", ""):
        write(shown, "price", wrong)
        assert shown.browser.find_element("id", "price").get_attribute("aria-invalid") == "true"
        assert shown.value("cost") == pytest.approx(250_000 * 0.5 * share), "the last that was a price"
    write(shown, "price", "0")
    assert shown.text("cost") == "–"


def write(shown: Shown, field: str, text: str) -> None:
    found = shown.browser.find_element("id", field)
    found.send_keys(Keys.CONTROL, "a")
    found.send_keys(Keys.DELETE)
    found.send_keys(text)


def test_a_rung_moves_both_handles_to_it(shown: Shown) -> None:
    shown.run("document.getElementById('rungs').open = true")
    shown.run("document.querySelectorAll('#rungs button')[2].click()")
    pair = TOLD.rungs[2]
    assert shown.pair() == pytest.approx((pair.local, pair.remote), abs=1e-5)
    assert shown.value("share") == told(TOLD, pair.local, pair.remote)["remote_fraction"]
    assert (
        shown.run("return [...document.querySelectorAll('#rungs tbody tr')].findIndex(r => r.className == 'here')") == 2
    )


def test_the_lines_to_paste_are_copied(shown: Shown) -> None:
    shown.browser.find_element("id", "copy").click()
    shown.run("return new Promise(done => setTimeout(done, 50))")
    assert shown.text("copied") in ("copied", "selected: copy it with your keyboard")
    write(shown, "price", "")
    shown.browser.find_element("id", "price").send_keys(Keys.CONTROL, "v")
    pasted = str(shown.run("return document.getElementById('price').value"))
    assert pasted.split() == TOLD.toml.split(), "a field of one line makes spaces of line breaks"


def test_examples_open(shown: Shown) -> None:
    first = shown.browser.find_element("css selector", ".classes details")
    assert not first.find_element("css selector", "blockquote").is_displayed()
    first.find_element("css selector", "summary").click()
    assert first.find_element("css selector", "blockquote").is_displayed()
    assert first.find_element("css selector", "blockquote").text.startswith("reviews number")


def test_hostile_text_does_not_run(shown: Shown) -> None:
    shown.open("hostile.html")
    shown.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert shown.run("return window.pwned === undefined")
    assert shown.run("return document.querySelectorAll('img, [onerror], script').length") == 2, "the tables, the script"
    seen = str(shown.run("return document.body.innerText"))
    assert HOSTILE.replace("\u202e", "\\u202e").replace("\u0007", "\\u0007") in seen, "it is seen as it is written"
    assert console_errors(shown.browser) == []


def test_the_policy_stops_what_is_added(shown: Shown) -> None:
    shown.run(
        "const one = document.createElement('script'); one.textContent = 'window.pwned = 1'; document.body.append(one)"
    )
    shown.run("document.body.insertAdjacentHTML('beforeend', `<img src=x onerror='window.pwned = 1'>`)")
    assert shown.run("return fetch('/told.html').then(() => 'fetched', () => 'stopped')") == "stopped"
    assert shown.run("return window.pwned === undefined")


def test_nothing_is_asked_for_but_the_page(shown: Shown) -> None:
    shown.asked.clear()
    for page in PAGES:
        shown.open(page)
    assert shown.run("return performance.getEntriesByType('resource').map(one => one.name)") == []
    assert shown.asked == [f"/{page}" for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_it_fits_every_screen_without_an_error(shown: Shown, page: str, width: int, dark: bool) -> None:
    shown.open(page, width, dark=dark)
    shown.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert shown.run("return document.documentElement.scrollWidth") == width, "nothing is wider than the screen"
    assert cut_off(shown) == []
    assert poor_contrast(shown.browser) == []
    assert console_errors(shown.browser) == []


def cut_off(shown: Shown) -> list[str]:
    """Texts that reach over the edge of the window or of their card, but in what can be scrolled."""
    found: list[str] = shown.run(
        """
        const faults = [];
        for (const one of document.querySelectorAll('body *')) {
          const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
          if (!own || !one.checkVisibility() || one.closest('.scroll, pre, .unseen, .skip, script, noscript')) continue;
          const box = one.getBoundingClientRect();
          const card = (one.closest('.card, .figure') ?? document.body).getBoundingClientRect();
          if (box.left < card.left - 1 || box.right > card.right + 1) faults.push(one.textContent.trim().slice(0, 60));
        }
        return faults;
        """
    )
    return found


def test_it_prints_light_whatever_the_screen_is(shown: Shown) -> None:
    shown.open(dark=True)
    printed = shown.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert base64.b64decode(printed).startswith(b"%PDF")
    shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert shown.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not shown.run("return document.getElementById('copy').checkVisibility()")
    finally:
        shown.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_it_opens_from_a_disk(shown: Shown, tmp_path: Path) -> None:
    write_page(report(TOLD), tmp_path / "report.html")
    shown.browser.get((tmp_path / "report.html").as_uri())
    assert shown.text("standing") == "chosen and certified"
    assert console_errors(shown.browser) == []


def test_a_refused_promise_starts_where_nothing_is_rejected(shown: Shown) -> None:
    shown.open("refused.html")
    assert shown.text("standing") == "chosen, no promise"
    assert shown.value("rejected") == 0.0
    assert shown.run("return document.getElementById('copy')") is None
