from __future__ import annotations

from typing import Any

import pytest
from bisupervised.agents.remote.asking import RemoteAnswer
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.reusing.cache import AnswerCache, CachePolicy, digest_of
from bisupervised.streams.settings.keys.remote import RemoteSettings
from bisupervised.streams.worker.protocols import make_protocol


def answer(prediction: Any = 1) -> RemoteAnswer:
    return RemoteAnswer(prediction, 0.5, "big@7", 12.0)


def key(number: int) -> bytes:
    return b"%d" % number


def test_what_was_put_is_there_until_it_is_too_old() -> None:
    cache = AnswerCache(CachePolicy(9, age_s=10.0))
    cache.put(key(1), answer(), 100.0)
    assert cache.get(key(1), 109.9) == answer()
    assert cache.get(key(1), 110.0) is None
    assert (len(cache), cache.bytes, cache.hits, cache.misses) == (0, 0, 1, 1)


def test_a_hit_does_not_make_it_younger() -> None:
    cache = AnswerCache(CachePolicy(9, age_s=10.0))
    cache.put(key(1), answer(), 100.0)
    for now in range(101, 110):
        assert cache.get(key(1), now) is not None
    assert cache.get(key(1), 110.0) is None


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = AnswerCache(CachePolicy(2))
    cache.put(key(1), answer(), 0.0)
    cache.put(key(2), answer(), 0.0)
    cache.get(key(1), 0.0)
    cache.put(key(3), answer(), 0.0)
    assert [cache.get(key(number), 0.0) is not None for number in (1, 2, 3)] == [True, False, True]


def test_its_bytes_are_bounded_and_counted() -> None:
    cache = AnswerCache(CachePolicy(1000, bytes=5000))
    for number in range(50):
        cache.put(key(number), answer("x" * (number * 7 % 900)), 0.0)
        cache.put(key(number // 2), answer("y"), 0.0)
        assert 0 < cache.bytes <= 5000
    cache.put(key(99), answer("z" * 5000), 0.0)
    assert cache.get(key(99), 0.0) is None, "larger than all room"
    assert cache.get(key(49), 0.0) is not None, "and nothing went for it"


def test_nothing_is_kept_where_nothing_may_be() -> None:
    cache = AnswerCache(CachePolicy(0))
    cache.put(key(1), answer(), 0.0)
    assert cache.get(key(1), 0.0) is None


CHAT = {"url": "http://x", "protocol": "openai_chat", "model": "m", "threshold": 0.5}


def chat(**changed: Any) -> bytes | None:
    """The digest of one input under these settings."""
    top = {name: changed.pop(name) for name in ("model",) if name in changed}
    return digest_of(make_protocol(RemoteSettings.model_validate({**CHAT, **top, "openai_chat": changed})), "how many?")


@pytest.mark.parametrize(
    "changed",
    [{"model": "n"}, {"prompt": "Q: {input}"}, {"system": "be brief"}, {"temperature": 0.5}, {"max_tokens": 9}],
)
def test_a_digest_tells_model_prompt_and_sampling_apart(changed: dict[str, Any]) -> None:
    assert chat(**changed) != chat()
    assert chat() == chat()


def test_a_digest_tells_inputs_and_models_apart_also_where_the_model_stands_in_the_path() -> None:
    big, other = OpenInference("big"), OpenInference("other")
    assert digest_of(big, [0.5, 0.5]) == digest_of(OpenInference("big"), [0.5, 0.5])
    assert len({digest_of(big, [0.5, 0.5]), digest_of(big, [0.5, 0.25]), digest_of(other, [0.5, 0.5])}) == 3
    assert digest_of(big, "no tensor") is None
