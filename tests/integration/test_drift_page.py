"""The page of the drift example in Chromium, over pipelines that are made up: it needs no broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
from bisupervised.streams.demo.drift.live import document
from bisupervised.streams.demo.drift.page import Page, read_static
from support.browser import chromium, console_errors, look, missing, poor_contrast, required
from support.drift import SCENE, made_stage
from support.pipeline import wait_until

if missing() and not required():
    pytest.skip(str(missing()), allow_module_level=True)

WIDE, PHONE = 1280, 380
HOSTILE = "<img src=x onerror='window.pwned=1'>"


@dataclass
class Shown:
    """The browser, and what the example says."""

    browser: Any  # selenium's driver
    url: str
    told: dict[str, Any]

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def text(self, where: str) -> str:
        return str(self.run(f"return document.querySelector('{where}')?.textContent ?? ''"))

    def open(self, width: int = WIDE, *, dark: bool = False) -> None:
        look(self.browser, width=width, dark=dark)
        self.browser.get(self.url)
        wait_until(lambda: "requests" in self.text("#facts"), "figures", 20, explain=lambda: self.text("body"))


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    told: dict[str, Any] = {}
    page, url, end = Page(lambda: told, read_static()), Future[str](), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with page.listening() as address:
            url.set_result(address)
            await end.wait()

    serving = Thread(target=loop.run_until_complete, args=(serve(),))
    serving.start()
    try:
        with chromium() as browser:
            yield Shown(browser, url.result(10), told)
    finally:
        loop.call_soon_threadsafe(end.set)
        serving.join()
        loop.close()


@pytest.fixture(autouse=True)
def half_way(shown: Shown) -> None:
    """The example stands where the inputs have been worse for a while."""
    shown.told.clear()
    shown.told.update(document(made_stage(700), SCENE, 12.0))
    console_errors(shown.browser)


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (PHONE, True)])
def test_three_systems_fit_every_screen(shown: Shown, width: int, dark: bool) -> None:
    shown.open(width, dark=dark)
    boxes = shown.run("return [...document.querySelectorAll('.system')].map((s) => s.getBoundingClientRect().toJSON())")
    assert len(boxes) == 3
    aside = [box["left"] for box in boxes]
    assert (len(set(aside)) == 3) == (width == WIDE), "beside each other, or below each other"
    assert shown.run("return document.documentElement.scrollWidth") <= width
    assert all(shown.run("return [...document.querySelectorAll('.system .line')].map((l) => l.getTotalLength() > 50)"))
    assert poor_contrast(shown.browser) == []
    assert console_errors(shown.browser) == []


def test_the_figures_are_those_of_the_example(shown: Shown) -> None:
    shown.open()
    assert shown.text("#facts").startswith("700 of 1,200 requests")
    assert shown.text("#state-text") == "running: worse"
    cells = (
        "return [...document.querySelectorAll('#phases-rows tr')].map((r) => [...r.children].map((c) => c.textContent))"
    )
    systems = shown.told["systems"]
    for row, phase in zip(shown.run(cells), ("before", "worse", "well again"), strict=True):
        assert row[0] == phase
        for shown_, system in zip(row[1:], systems, strict=True):
            error = next((one["error"] for one in system["phases"] if one["phase"] == phase), None)
            assert shown_ == ("–" if error is None else f"{100 * error:.1f} %")
    over = shown.run("return [...document.querySelectorAll('td.over')].length")
    assert over == sum(one["error"] > 0.1 for system in systems for one in system["phases"])
    assert [shown.run(f"return document.querySelectorAll('.{one['name']} .alarm').length") for one in systems] == [
        0,
        2,
        1,
    ]
    assert shown.run("return document.querySelectorAll('.tightened .change').length") == 1


def test_alarms_that_follow_each_other_are_one_line_and_words_stay_text(shown: Shown) -> None:
    shown.told["systems"][2]["notices"][-1]["text"] = HOSTILE
    shown.open()
    lines = shown.run("return [...document.querySelectorAll('#noticed li')].map((l) => l.textContent)")
    assert len(lines) == 3
    assert any("told" in line and "(2 times)" in line for line in lines)
    assert any(HOSTILE in line for line in lines)
    assert not shown.run("return window.pwned ?? false")


def test_what_is_focused_stays_so_while_figures_change(shown: Shown) -> None:
    shown.open()
    shown.run("document.querySelector('.told a').focus()")
    shown.told["ended"] = 701
    wait_until(lambda: shown.text("#facts").startswith("701"), "the next figures", 10)
    assert shown.run("return document.activeElement.closest('.told') !== null")


def test_it_says_when_the_example_has_finished(shown: Shown) -> None:
    shown.told["finished"] = True
    shown.open()
    wait_until(lambda: shown.text("#state-text") == "finished", "the end", 10)
