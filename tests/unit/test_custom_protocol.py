from __future__ import annotations

import pytest
from bisupervised.agents.remote.protocols.custom import load_protocol
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.schemas.errors import ConfigurationError

OURS = "bisupervised.agents.remote.protocols.open_inference:OpenInference"


def test_it_is_made_with_the_options() -> None:
    assert load_protocol(OURS, {"model": "big", "input_name": "x"}) == OpenInference("big", "x")


@pytest.mark.parametrize(
    ("spec", "options", "match"),
    [
        ("no_such_module:Protocol", {}, r"^\[remote\] protocol: 'no_such_module:Protocol' cannot be imported"),
        ("bisupervised.agents.remote.protocols.tei:Nothing", {}, "cannot be imported: .* has no attribute 'Nothing'"),
        (OURS, {"colour": "red"}, r"^\[remote\.options\]: .* does not take them: .*'colour'"),
        ("builtins:dict", {}, "it lacks build, estimate, raise_for, read"),
    ],
)
def test_what_makes_no_protocol_is_told(spec: str, options: dict[str, str], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        load_protocol(spec, options)
