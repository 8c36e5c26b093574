from __future__ import annotations

import asyncio
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from bisupervised.agents.remote.credentials import Authorized
from bisupervised.agents.remote.transport import Response, ScriptedTransport, ScriptStep, Sent
from bisupervised.schemas.errors import RemoteError, RemoteFailure, Timeout

KEY = "sk-canary/0123456789abcdef"
OK = Response(200, {}, b"{}")


async def sent(step: ScriptStep, key: str = KEY, **how: str) -> tuple[Response, ScriptedTransport, Authorized]:
    inner = ScriptedTransport([step])
    keyed = Authorized(inner, key, **how)  # type: ignore[arg-type]  # header and scheme
    return await keyed.post("http://remote/x", b"body", {"a": "b"}, 3.0, method="PUT"), inner, keyed


async def test_the_key_goes_along() -> None:
    _, inner, _ = await sent(OK)
    [call] = inner.sent
    assert call.headers == {"a": "b", "authorization": f"Bearer {KEY}"}
    assert (call.url, call.body, call.timeout_s, call.method) == ("http://remote/x", b"body", 3.0, "PUT")


async def test_the_header_and_its_scheme_are_settable() -> None:
    _, inner, _ = await sent(OK, header="X-Api-Key", scheme="")
    assert inner.sent[0].headers == {"a": "b", "x-api-key": KEY}


@pytest.mark.parametrize("status", [200, 401])
async def test_a_key_that_comes_back_is_taken_out(status: int) -> None:
    body = f'{{"error": "wrong key {KEY}", "escaped": "{KEY.replace("/", chr(92) + "/")}"}}'.encode()
    response, _, _ = await sent(Response(status, {"x-echo": f"Bearer {KEY}"}, body))
    assert response.status == status
    assert b"0123456789abcdef" not in response.body
    assert "0123456789abcdef" not in str(response.headers)
    assert b"wrong key [key removed]" in response.body


ODD = "sk-canary+/0123456789abcdef=="


def escaped(template: str, of: str = ODD) -> str:
    return "".join(template.format(ord(character)) if not character.isalnum() else character for character in of)


WRITTEN = {
    "JSON": escaped(r"\u{:04x}"),
    "JSON in capitals": escaped(r"\u{:04X}"),
    "JSON, every character": "".join(rf"\u{ord(character):04x}" for character in ODD),
    "JSON in JSON": escaped(r"\\u{:04X}").replace(r"\\u002F", r"\\/"),
    "a URL": quote(ODD, safe=""),
    "a URL, in small letters": escaped("%{:02x}"),
    "a URL in a URL": quote(quote(ODD, safe=""), safe=""),
    "HTML": escaped("&#{};"),
    "HTML, hexadecimal": escaped("&#x{:X};"),
    "Base64": b64encode(ODD.encode()).decode(),
    "Base64 for URLs": urlsafe_b64encode(ODD.encode()).decode(),
    "Base64 with the scheme": b64encode(f"Bearer {ODD}".encode()).decode(),
    "Base64 with a name": b64encode(f"me:{ODD}".encode()).decode().replace("/", r"\/"),
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
async def test_a_key_is_taken_out_however_it_is_written(written: str) -> None:
    response, _, _ = await sent(Response(401, {"x-echo": written}, f'{{"error": "no {written}"}}'.encode()), key=ODD)
    assert "[key removed]" in response.headers["x-echo"]
    assert b"[key removed]" in response.body
    for piece in (written[i : i + 8] for i in range(len(written) - 8) if i > 10):
        assert piece not in response.headers["x-echo"] + response.body.decode()


async def test_what_is_like_the_key_and_is_not_stays() -> None:
    body = escaped("&#{};").replace("0123", "0124").encode() + rb"\\\\\\ %2525 \u002B "
    response, _, _ = await sent(Response(401, {}, body), key=ODD)
    assert response.body == body


async def test_a_short_key_may_be_a_word_of_an_answer_but_of_no_error() -> None:
    answer, _, _ = await sent(Response(200, {}, b"test"), key="test")
    error, _, _ = await sent(Response(401, {}, b"test"), key="test")
    assert (answer.body, error.body) == (b"test", b"[key removed]")


@pytest.mark.parametrize("failure", [RemoteError(f"no header: {KEY}", retry_after_s=3.0), Timeout("late")])
async def test_an_error_of_the_transport_keeps_its_class_and_loses_the_key(failure: RemoteFailure) -> None:
    with pytest.raises(type(failure)) as caught:
        await sent(failure)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert KEY not in str(seen)
        seen = seen.__cause__ or seen.__context__
    assert caught.value.retry_after_s == failure.retry_after_s


async def test_it_is_not_shown_and_closes_what_it_holds() -> None:
    _, inner, keyed = await sent(OK)
    assert KEY not in repr(keyed)
    await keyed.close()
    assert inner.closed


NEW = "sk-another/0123456789abcdef"


def taking(key: str) -> Callable[[Sent], ScriptStep]:
    """A server that takes this key, and quotes any other."""

    def answer(call: Sent) -> ScriptStep:
        given = call.headers["authorization"].removeprefix("Bearer ")
        return OK if given == key else Response(401, {}, f"wrong key {given}".encode())

    return answer


async def test_a_key_that_was_replaced_is_read_again_when_the_old_one_is_refused() -> None:
    keys = [NEW]
    keyed = Authorized(ScriptedTransport(taking(NEW)), KEY, read=lambda: keys[-1])
    assert (await keyed.post("http://remote/x", b"", {}, 3.0)).status == 200
    keys.append("sk-never-read/0123456789abcdef")
    assert (await keyed.post("http://remote/x", b"", {}, 3.0)).status == 200, "and not again while it is taken"


async def test_calls_that_are_refused_beside_each_other_all_get_the_new_key() -> None:
    keyed = Authorized(ScriptedTransport(taking(NEW)), KEY, read=lambda: NEW)
    calls = [keyed.post("http://remote/x", b"", {}, 3.0) for _ in range(5)]
    assert {response.status for response in await asyncio.gather(*calls)} == {200}


async def test_one_that_is_the_same_or_cannot_be_read_is_asked_with_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def missing() -> str:
        raise ValueError("cannot be read: No such file")

    for read in (lambda: KEY, lambda: None, missing):
        inner = ScriptedTransport(taking(NEW))
        response = await Authorized(inner, KEY, read=read).post("http://remote/x", b"", {}, 3.0)
        assert (response.status, response.body, len(inner.sent)) == (401, b"wrong key [key removed]", 1)
    assert [vars(record)["action"] for record in caplog.records] == ["remote_key_unread"]


async def test_and_it_is_read_again_when_somebody_says_so() -> None:
    keyed = Authorized(inner := ScriptedTransport(taking(NEW)), KEY, read=lambda: NEW)
    assert (await keyed.renew(), await keyed.renew()) == (True, False)
    await keyed.post("http://remote/x", b"", {}, 3.0)
    assert len(inner.sent) == 1
