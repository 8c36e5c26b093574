"""The paper's recorded predictions, which lie beside the project and are not copied into it."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "bisupervised"
NEEDS_DATA = pytest.mark.skipif(not DATA.is_dir(), reason="the paper's recorded predictions are not here")


def files(case: str) -> tuple[Path, Path]:
    """The local and the remote file of a case study."""
    return DATA / f"{case}_local.csv", DATA / f"{case}_remote.csv"
