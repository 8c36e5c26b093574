"""Which tests go to one process together."""

from __future__ import annotations

from pathlib import Path

from support.dealing import TOGETHER, dealt_with

TESTS = Path(__file__).parents[1]


def test_files_that_go_together_are_there() -> None:
    assert TOGETHER.keys() <= {path.stem for path in (TESTS / "integration").glob("test_*.py")}


def test_a_test_goes_alone_or_with_its_group() -> None:
    alone = "tests/integration/test_stop.py::test_ctrl_c"
    assert dealt_with(alone) == alone
    assert dealt_with("tests/integration/test_canaries.py::test_no_secret_is_shown_anywhere") == "secured"
    assert dealt_with("tests/integration/test_secured_broker.py::test_the_whole_pipeline_comes_in[a::b]") == "secured"
