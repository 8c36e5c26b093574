"""What `--help` shows: groups in order, and of each command what it reads and writes and how it ends."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading

import pytest
from bisupervised.streams import cli
from bisupervised.streams.commands.manual import OVERVIEW, PAGES

ESCAPE = "\x1b["
#: known here for whoever registers them
REGISTERED = [name for name in PAGES if name in cli.app]


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run([*arguments, "--help"]) == 0
    return capsys.readouterr().out


def words(text: str) -> str:
    """Without boxes and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def test_commands_stand_in_groups_in_the_order_of_their_use(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    titles = re.findall(r"╭─ (.+?) ─", text)
    assert titles[:4] == ["Try it", "Set it up", "Run it", "Choose thresholds"]
    assert "Commands" not in titles, "a command has no group: give it a page in manual.py"
    listed = [name for name in re.findall(r"^│ (\S+)  ", text, re.MULTILINE) if name in PAGES]
    assert listed == REGISTERED


def test_the_overview_tells_exit_codes_and_where_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    text = words(shown(capsys))
    assert "130 interrupted" in text
    assert "bisupervised config > my.toml" in text
    assert "NO_COLOR" in OVERVIEW


@pytest.mark.parametrize("name", REGISTERED)
def test_each_command_says_what_it_reads_and_writes_and_how_it_ends(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = words(shown(capsys, name))
    page = PAGES[name]
    assert "Reads:" in text
    assert "Writes:" in text
    assert "Exit code: 0 " in text
    assert page.examples
    for example in page.examples:
        assert words(example)[:40] in text


@pytest.mark.parametrize("name", REGISTERED)
def test_the_examples_are_of_this_command_and_of_options_it_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for example in " ".join(PAGES[name].examples).replace(" \\ ", " ").split("bisupervised ")[1:]:
        first, second, *_ = [*example.split(" | ")[0].split(), ""]
        assert first == name
        text = shown(capsys, name, second) if second in cli.app[name] else shown(capsys, name)
        options = set(re.findall(r"(?<= )--[a-z-]+", example.split(" | ")[0]))
        assert all(option in text for option in options)


def on_a_terminal(arguments: list[str], **env: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-m", "bisupervised.streams.cli", *arguments]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**kept, "TERM": "xterm-256color", **env})
    os.close(theirs)
    written: list[bytes] = []

    def read() -> None:
        while True:
            try:
                got = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                return
            if not got:
                return
            written.append(got)

    reader = threading.Thread(target=read)
    reader.start()
    process.wait(60)
    reader.join(10)
    os.close(ours)
    return b"".join(written).decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")


def test_colours_are_for_terminals() -> None:
    assert COLOUR.search(on_a_terminal(["--nope"]))
    assert not COLOUR.search(on_a_terminal(["--nope"], NO_COLOR="1"))
    command = [sys.executable, "-m", "bisupervised.streams.cli"]
    for arguments in (["--help"], ["--nope"]):
        ended = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert ESCAPE not in ended.stdout + ended.stderr
