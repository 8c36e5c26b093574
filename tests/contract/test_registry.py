"""The registry of the tests answers as a real one: `make conformance` asks Apicurio the same."""

from __future__ import annotations

import pytest
from bisupervised.schemas.avro import prepare
from support.registry import serving_registry
from support.registry_cases import CASES, Case


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    """A worker reads the schema of results before its event loop runs."""
    prepare()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.__name__) for case in CASES])
async def test_the_registry_of_the_tests_is_like_a_real_one(case: Case) -> None:
    async with serving_registry() as registry:
        assert await case(registry.url)
