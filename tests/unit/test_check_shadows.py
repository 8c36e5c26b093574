"""What `check` says of trusted inputs that leave for the remote."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.streams.commands.check_waits import look_at_shadows
from bisupervised.streams.settings.file import load_settings
from support.versions import laddered_file

TOML = """
[local]
model = "my_model:load"
threshold = 0.5
[remote]
url = "http://127.0.0.1"
model = "large"
threshold = 0.5
{send}
[audit]
share = 0.01
shadow_share = {share}
"""


@pytest.mark.parametrize(
    ("share", "send", "told"),
    [
        (0, "", []),
        (
            0.05,
            "",
            ["0.05 of all inputs leave for the remote, also those that the local model answers", "the model's input"],
        ),
        (0.05, 'protocol = "openai_chat"\nsend = ["input"]', ["[audit] shadow_share", "[remote] send names (input)"]),
    ],
)
def test_it_says_that_trusted_inputs_leave_and_what_of_them(
    tmp_path: Path, share: float, send: str, told: list[str]
) -> None:
    path = tmp_path / "my.toml"
    path.write_text(TOML.format(share=share, send=send))
    found = list(look_at_shadows(load_settings(path, {"BISUPERVISED_AUDIT__SECRET": "s"})))
    assert [finding.level for finding in found] == ["note"] * bool(told)
    assert all(part in found[0].text for part in told)


def test_it_says_that_shadows_are_asked_at_once_where_all_others_go_into_batches(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    batches = 'protocol = "openai_chat"\nmode = "batch"\n[stream]\nordering = "none"'
    path.write_text(TOML.format(share=0.05, send=batches))
    _, found = look_at_shadows(load_settings(path, {"BISUPERVISED_AUDIT__SECRET": "s"}))
    assert found.level == "note"
    assert "asked at once and at the full price" in found.text


def test_it_says_what_an_alarm_may_cost(tmp_path: Path) -> None:
    thresholds = tmp_path / "made.json"
    laddered_file(tmp_path, promise=0.1).rename(thresholds)
    path = tmp_path / "my.toml"
    more = f'on_alarm = "tighten"\nalarm_share = 0.2\n[thresholds]\nfile = "{thresholds}"\n'
    text = TOML.format(share=0.05, send="") + more
    path.write_text(text.replace("threshold = 0.5\n", ""))
    _, found = look_at_shadows(load_settings(path, {"BISUPERVISED_AUDIT__SECRET": "s"}))
    assert found.level == "note"
    assert found.text == (
        "after an alarm 0.2 of the requests in place of 0.01 are labelled, and as many inputs leave for the remote: "
        "for 24 hours or 1,000 more labels at most"
    )
