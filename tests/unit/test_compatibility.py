"""A record does not change without its version; what may change at all is said in docs/interfaces.md."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from bisupervised.schemas import jsonschema
from bisupervised.schemas.jsonschema import version_of
from support.compatibility import unannounced, unreadable

#: the schemas as they were released, each under the version it had
RELEASED = Path(__file__).parents[1] / "released"


#: what a version changed although its elder neighbour cannot read it, with the reason why that harms no worker
EXCEPTIONS = {
    # only fallback records have a reason, and no worker reads them; docs/interfaces.md says it of the tools
    ("facts", 2): ("Facts.reason was",),
}


def released(name: str, version: int) -> Any:
    path = RELEASED / f"{name}.v{version}.json"
    assert path.is_file(), (
        f"{path.name} is not in tests/released: copy schemas/json/{path.name} there. From then on version {version} "
        "of the record is fixed."
    )
    return orjson.loads(path.read_bytes())


@pytest.mark.parametrize("name", jsonschema.DOCUMENTS)
def test_a_record_does_not_change_without_its_version(name: str) -> None:
    version = version_of(name)
    faults = unannounced(released(name, version), jsonschema.schema(name))
    assert faults == [], (
        f"the record {name!r} changed, and its version is still {version}: {'; '.join(faults)}. Undo that; or raise "
        "VERSION beside its struct, run `python -m bisupervised.schemas.jsonschema`, and copy the new files of "
        "schemas/json to tests/released. Within one version a field may only be added, with a default "
        "(docs/interfaces.md)."
    )


@pytest.mark.parametrize("name", jsonschema.DOCUMENTS)
def test_workers_of_neighbouring_versions_read_each_other(name: str) -> None:
    version = version_of(name)
    older = max(version - 1, 1)  # version 1 has no older neighbour than itself
    faults = [
        fault
        for fault in unreadable(released(name, older), jsonschema.schema(name))
        if not fault.startswith(EXCEPTIONS.get((name, version), ()))
    ]
    assert faults == [], (
        f"workers of versions {older} and {version} cannot share topics: {'; '.join(faults)}. Add a field "
        "beside the old one, and drop the old one a version later (docs/interfaces.md)."
    )


def _add(schema: Any) -> None:
    schema["$defs"]["Verdict"]["properties"]["added"] = {"type": "string", "default": ""}


def _describe(schema: Any) -> None:
    schema["properties"]["id"]["description"] = "other words"


def _drop(schema: Any) -> None:
    del schema["$defs"]["Verdict"]["properties"]["cost"]


def _relax(schema: Any) -> None:
    schema["required"].remove("source")


def _demand(schema: Any) -> None:
    schema["$defs"]["Verdict"]["required"].append("cost")


def _demand_new(schema: Any) -> None:
    _add(schema)
    schema["$defs"]["Verdict"]["required"].append("added")


def _retype(schema: Any) -> None:
    schema["$defs"]["Source"]["properties"]["offset"]["type"] = "string"


def _another_reason(schema: Any) -> None:
    schema["properties"]["reason"]["anyOf"][0]["examples"].append("bad luck")


def _narrow(schema: Any) -> None:
    schema["properties"]["reason"]["anyOf"][0]["enum"] = ["timeout"]


def _another_default(schema: Any) -> None:
    schema["properties"]["thresholds"]["default"] = "none"


def _lose(schema: Any) -> None:
    del schema["properties"]["source"]


def changed(change: Callable[[Any], None]) -> tuple[Any, Any]:
    before = jsonschema.schema("facts")
    after = copy.deepcopy(before)
    change(after)
    assert before != after
    return before, after


@pytest.mark.parametrize("change", [_add, _describe, _another_reason])
def test_a_field_more_is_no_other_version(change: Callable[[Any], None]) -> None:
    assert unannounced(*changed(change)) == []


@pytest.mark.parametrize("change", [_drop, _relax])
def test_what_needs_another_version_and_can_be_read_by_its_neighbour(change: Callable[[Any], None]) -> None:
    before, after = changed(change)
    assert len(unannounced(before, after)) == 1
    assert unreadable(before, after) == []


@pytest.mark.parametrize("change", [_demand, _demand_new, _retype, _narrow, _another_default, _lose])
def test_what_no_neighbour_could_read(change: Callable[[Any], None]) -> None:
    before, after = changed(change)
    assert len(unreadable(before, after)) == 1
    assert unannounced(before, after) == unreadable(before, after)
