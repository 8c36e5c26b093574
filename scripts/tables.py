"""Write the tables in docs/ that are generated from the code. Tests check that they are current."""

from __future__ import annotations

from pathlib import Path

from bisupervised.streams.telemetry import metrics

ROOT = Path(__file__).resolve().parents[1]
MARK = "<!-- made by scripts/tables.py -->\n"


def write(name: str, table: str) -> None:
    """Put the table in the place of what stands below the mark."""
    path = ROOT / "docs" / name
    before, mark, _ = path.read_text().partition(MARK)
    if not mark:
        raise SystemExit(f"{path} has no line {MARK!r}")
    path.write_text(f"{before}{MARK}\n{table}")


if __name__ == "__main__":
    write("metrics.md", metrics.table())
