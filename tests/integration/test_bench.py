"""The runner of the benchmarks: one of them in seconds, what it writes, and how the page is filled."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from rich.table import Table
from support.benchmarks import smoke

from benchmarks.bench import FIGURES, PAGE, Measured, as_markdown, figures, fill, markdown

ROOT = Path(__file__).parents[2]


@pytest.mark.long(20)
def test_one_benchmark_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- end of bench -->\nafter\n")
    found, _ = smoke("bench", tmp_path, "--only", "partitions", "--page", page)
    assert [cost["partitions"] for cost in found["partitions"]["partition_costs"]] == [4, 8, 4]
    assert found["versions"]["python"] == platform.python_version()
    assert found["machine"]["cores"] >= 1
    text = page.read_text()
    assert text.startswith("before\n<!-- bench -->\n`python -m benchmarks.bench --only partitions --smoke`")
    assert text.endswith("<!-- end of bench -->\nafter\n")
    assert "| 8 | " in text
    assert "A smoke run" in text
    assert "target is met" not in text
    assert "old" not in text


def table() -> Table:
    made = Table("what", "a|b", title="Some title")
    made.add_row("this", "1")
    return made


def test_a_table_of_rich_becomes_one_of_markdown() -> None:
    assert markdown(table()) == "| what | a\\|b |\n| --- | --- |\n| this | 1 |"


def test_what_was_missed_is_told_and_where_it_was_measured() -> None:
    told = [
        Measured("model", {"model_vs_torch": 1, "rest": 3}, table(), ["model_vs_torch"], 1.0),
        Measured("two", {"second": 2}, table(), [], 1.0),
    ]
    found = figures(told)
    assert (found["model_vs_torch"], found["missed"]) == (1, ["model_vs_torch"])
    assert (found["model"]["rest"], found["two"]) == (3, {"second": 2})
    assert "second" not in found
    page = as_markdown(told, found)
    assert "Missed: `model_vs_torch`." in page
    assert page.count("### Some title") == 2
    assert platform.node() not in page
    assert str(ROOT) not in page


@pytest.mark.parametrize("filled", [PAGE, FIGURES], ids=lambda page: page.name)
def test_each_page_has_a_place_for_the_tables(filled: Path, tmp_path: Path) -> None:
    page = tmp_path / filled.name
    page.write_text(filled.read_text())
    fill(page, "new tables")
    assert "<!-- bench -->\nnew tables\n<!-- end of bench -->" in page.read_text()
    with pytest.raises(SystemExit, match="no place for the tables"):
        fill(ROOT / "README.md", "new tables")
