"""What `check --connect` says of what compares answers with labels."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from bisupervised.streams.commands.check import look_at_matching
from bisupervised.streams.commands.findings import Finding
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings

TOML = """
[local]
model = "my_model:load"
threshold = 0.5
[remote]
url = "http://127.0.0.1"
model = "large"
threshold = 0.5
[audit]
share = {share}
matches = "{matches}"
"""


@pytest.mark.parametrize(
    ("share", "matches", "told"),
    [
        (0, "nowhere:at_all", []),
        (0.1, "normalised", [("ok", "an answer is right by [audit] matches = 'normalised'")]),
        (0.1, "math:pi", [("fault", "[audit] matches: math:pi cannot be called")]),
    ],
)
def test_it_is_found_before_an_auditor_needs_it(
    tmp_path: Path, share: float, matches: str, told: list[tuple[str, str]]
) -> None:
    path = tmp_path / "my.toml"
    path.write_text(TOML.format(share=share, matches=matches))
    settings = load_settings(path, {"BISUPERVISED_AUDIT__SECRET": "s"})
    assert [(finding.level, finding.text) for finding in asyncio.run(found(settings))] == told


async def found(settings: Settings) -> list[Finding]:
    return [finding async for finding in look_at_matching(settings)]
