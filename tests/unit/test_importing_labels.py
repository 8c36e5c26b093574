"""`labels import` checks a whole file before it writes any label."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.streams.audit.importing import run_import
from bisupervised.streams.offline.recordings.files import RecordingError
from bisupervised.streams.settings.file import load_settings

CONFIGURATION = """
[local]
model = "my_model:load"
threshold = 0.5
{labels}
[remote]
url = "http://127.0.0.1"
model = "large"
threshold = 0.5
"""


def importing(folder: Path, *rows: str, labels: str = "") -> None:
    file = folder / "labels.csv"
    file.write_text("\n".join(("source,truth", *rows)) + "\n")
    (folder / "shop.toml").write_text(CONFIGURATION.format(labels=labels))
    run_import(load_settings(folder / "shop.toml", {}), file, ("source", "truth"), "ann", as_json=False)


def test_rows_that_name_no_request_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"these are not: 'seventeen'$"):
        importing(tmp_path, "requests-0-1,cat", "seventeen,cat")


def test_only_the_first_of_many_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"'r19' and 2 more$"):
        importing(tmp_path, *(f"r{number},cat" for number in range(22)))


def test_a_label_too_large_to_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"these are larger: 'requests-0-2'$"):
        importing(tmp_path, "requests-0-1,cat", f"requests-0-2,{'x' * 70_000}")


def test_answers_that_there_are_not_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"one of cat, dog, and these are not: 'cta \(requests-0-2\)'; "):
        importing(tmp_path, "requests-0-1,cat", "requests-0-2,cta", labels='labels = ["cat", "dog"]')
