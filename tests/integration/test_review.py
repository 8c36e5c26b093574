"""People label on the page, by keyboard and on a phone, over real Kafka; the audit counts what they said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from bisupervised.schemas.audits import Label, decode_label
from bisupervised.streams.cli import run
from bisupervised.streams.review.reviewers import add_reviewer
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from support.browser import chromium, console_errors, look, missing, poor_contrast, required
from support.pipeline import Pipeline, Setup, Worker, mixed, request, wait_until

if missing() and not required():
    pytest.skip(str(missing()), allow_module_level=True)

pytestmark = pytest.mark.long(20)
SCRIPT = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
ACTING = "\u202egnp.exe"
INPUTS = 12


class Person:
    """Somebody before a page."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def text(self, name: str) -> str:
        return str(self.run(f"return document.getElementById('{name}').innerText"))

    def sees(self, name: str) -> bool:
        return bool(self.run(f"return document.getElementById('{name}').checkVisibility()"))

    def wait_for(self, name: str, text: str) -> None:
        wait_until(lambda: text in self.text(name), f"{text} in {name}", 30, explain=lambda: self.text("main"))

    def enter(self, url: str, token: str) -> None:
        self.browser.get(f"{url}#token={token}")
        wait_until(lambda: self.sees("work") or self.sees("over"), "the page", 30, explain=lambda: self.text("main"))
        assert token not in self.browser.current_url
        assert self.run("return document.cookie") == "", "no script reads the token"

    @property
    def right(self) -> str:
        """The right answer to the input that is shown."""
        return str(json.loads(self.text("input"))[0])

    def press(self, key: str) -> None:
        self.settled()
        self.browser.find_element(By.TAG_NAME, "body").send_keys(key)

    def tap(self, answer: str) -> None:
        self.settled()
        self.browser.find_element(By.CSS_SELECTOR, f"#classes button[value='{answer}']").click()

    def settled(self) -> None:
        """Nothing is under way, and the input has been there for a moment: before that the page takes no answer."""
        wait_until(
            lambda: bool(
                self.run("return document.body.dataset.calm === 'true' && document.body.dataset.busy === 'false'")
            ),
            "an input to answer",
            30,
        )

    def done(self, count: int) -> None:
        self.wait_for("done", str(count))
        self.wait_for("said", "✓ Saved")


@contextmanager
def serving(pipeline: Pipeline, reviewers: Path, *options: str) -> Iterator[tuple[Worker, str]]:
    """The process, and its address."""
    command = ["bisupervised.streams.cli", "review", "--config", str(pipeline.config), "--reviewers", str(reviewers)]
    process = pipeline.start([*command, "--port", "0", *options])

    def url() -> str | None:
        found = re.search(r"the page: (\S+)", process.log.read_text())
        return found and found[1]

    with process:
        wait_until(lambda: url() is not None, "the page", alive=lambda: process.running, explain=process.tail)
        address = url()
        assert address is not None
        yield process, address


def labels(pipeline: Pipeline) -> list[Label]:
    return [decode_label(record.value) for record in pipeline.records("labels")]


def test_people_label_and_the_audit_counts_it(setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret, reviewers = tmp_path / "secret", tmp_path / "reviewers.txt"
    secret.write_text("only the fleet knows")
    tokens = {name: add_reviewer(reviewers, name) for name in ("ann", "bob", "eve")}
    _, pipeline = setup(
        partitions=1,
        audit={"share": 1.0, "secret_file": str(secret)},
        review={"classes": ["0", "1", "2", "3"], "question": "Which number comes first?"},
    )
    hostile = request(1, local=0.95, text=SCRIPT + ACTING)
    pipeline.worker()
    sent = pipeline.send([hostile])
    pipeline.wait_for_outcomes(sent)  # so that it comes first
    outcomes = pipeline.settle([*sent, *pipeline.send(mixed(INPUTS - 1))])
    rejected = sum(outcome.kind == "low_confidence" for outcome in outcomes)
    with chromium() as browser:
        person = Person(browser)
        with serving(pipeline, reviewers, "--fallback") as (_, url):
            person.enter(url, tokens["ann"])
            assert person.text("left") == str(rejected)
            browser.delete_all_cookies()
        with serving(pipeline, reviewers) as (process, url):
            look(browser, width=1100)
            person.enter(url, tokens["ann"])
            wrong = label_by_keyboard(person)
            process.kill()
            person.press(person.right)
            person.wait_for("fault", "Not saved")
            assert len(labels(pipeline)) == 8, "six labels, one taken back, and given again"
        with serving(pipeline, reviewers) as (_, url):
            person.enter(url, tokens["ann"])
            assert person.text("done") == "6", "a restart loses nothing"
            for count in range(7, INPUTS + 1):
                person.press(person.right)
                person.done(count) if count < INPUTS else None
            wait_until(lambda: person.sees("over"), "the end", 30)
            assert unexpected(browser) == []
            assert report(pipeline, capsys)["disputed"] == 1 + rejected, "what wants a second look decides nothing"
            look(browser, width=380, height=700)
            second_looks_on_a_phone(person, url, tokens["bob"], wrong, rejected)
            assert report(pipeline, capsys)["disputed"] == 1
            log_in_anew(person, url, tokens["eve"])
            assert (person.text("left"), person.text("input")) == ("1", wrong)
            person.tap(person.right)
            wait_until(lambda: person.sees("over"), "the end", 30)
            assert unexpected(browser) == []
    found = report(pipeline, capsys)
    assert (found["drawn"], found["labelled"], found["disputed"]) == (INPUTS, INPUTS, 0)
    assert (found["error"]["wrong"], found["error"]["labels"]) == (0, INPUTS - rejected)
    assert (found["false_positive_rate"]["wrong"], found["false_positive_rate"]["labels"]) == (rejected, INPUTS)


def label_by_keyboard(person: Person) -> str:
    """Six labels, one of them wrong; one is skipped, one taken back. Returns the input with the wrong one."""
    assert person.text("question") == "Which number comes first?"
    assert SCRIPT not in person.text("input")
    person.run("document.querySelector('#rest-box').open = true")
    rest = person.text("rest")
    assert SCRIPT in rest, "it is seen as it is written"
    assert "\\u202egnp.exe" in rest
    assert person.run("return window.pwned === undefined && document.querySelectorAll('script').length === 1")
    assert poor_contrast(person.browser) == []
    wrong = person.text("input")
    person.press(str((int(person.right) + 1) % 4))
    person.done(1)
    skipped = person.text("input")
    person.press("s")
    person.wait_for("said", "Skipped")
    person.press("u")
    person.wait_for("said", "Taken back")
    assert person.text("input") == skipped
    for count in range(2, 7):
        person.press(person.right)
        person.done(count)
    person.browser.refresh()
    wait_until(lambda: person.sees("work"), "the page", 30)
    assert person.text("done") == "6"
    person.press(Keys.CONTROL + "z")
    person.wait_for("said", "Taken back")
    assert person.text("done") == "5"
    person.press(person.right)
    person.done(6)
    return wrong


def log_in_anew(person: Person, url: str, token: str) -> None:
    person.run("document.getElementById('logout').click()")
    wait_until(lambda: person.sees("login"), "the login", 10)
    person.browser.refresh()
    wait_until(lambda: person.sees("login"), "the login", 10)
    person.enter(url, token)


def second_looks_on_a_phone(person: Person, url: str, token: str, wrong: str, rejected: int) -> None:
    """Only what speaks against a promise comes to the second person, who sees no more of it than the first did."""
    log_in_anew(person, url, token)
    assert person.text("left") == str(1 + rejected)
    assert person.text("input") == wrong
    assert person.run("return document.documentElement.scrollWidth") == 380
    assert poor_contrast(person.browser) == []
    bottom = person.run("return document.getElementById('answers').getBoundingClientRect().bottom")
    assert bottom <= 700, "the answers are in reach"
    for count in range(1, rejected + 1):
        person.tap(person.right)
        person.done(count)
    other = str((int(person.right) + 1) % 4)
    person.tap(other)
    wait_until(lambda: person.sees("over"), "the end", 30)
    person.run("document.getElementById('undo-last').click()")
    wait_until(lambda: person.sees("work"), "the input again", 30)
    assert person.run("return document.querySelector('#classes .before').value") == other
    person.tap(person.right)
    wait_until(lambda: person.sees("over"), "the end", 30)


def unexpected(browser: Any) -> list[str]:
    """Errors on the console, but for what the test made: a server that is gone, and nobody who is logged in."""
    made = ("ERR_CONNECTION_REFUSED", "401 (Unauthorized)")
    return [error for error in console_errors(browser) if not any(word in error for word in made)]


def report(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["audit", "report", "--config", str(pipeline.config), "--json"]) == 0
    (told,) = orjson.loads(capsys.readouterr().out)["versions"]
    return dict(told)
