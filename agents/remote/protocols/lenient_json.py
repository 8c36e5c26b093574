"""JSON as servers write it that is not JSON to the letter: `NaN`, `Infinity`, and half of a pair of surrogates.

Python's own `json` writes the first two, and a text that was cut in the midst of a sign ends with the third. None of
them may cost an answer that does not need the value. A text of a model or a runtime may also hold a mapping as Python
writes it, `{'label': 'positive'}`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import orjson

_Read = TypeVar("_Read")

#: largest body that is mended, bytes: it is done in the event loop, at up to 0.3 s a MiB for the worst of JSON
LARGEST = 256 * 1024
#: longest text that is read as Python's, characters; and numbers as numpy and torch write them in it
_LONGEST = 16 * 1024
_WRAPPED_NUMBER = re.compile(r"\b(?:np\.|numpy\.|torch\.)?(?:float\d+|int\d+|tensor)\(([-+.\deE]+)\)")
#: what may be mended; nothing else is parsed twice
_MENDABLE = re.compile(rb"NaN|Infinity|\\u[dD][89a-fA-F]")


def decoded(decode: Callable[[bytes], _Read], body: bytes) -> _Read:
    """What `decode` makes of the body. Where it is strict about what stands above, a number that is none becomes null,
    and half of a sign the sign for an unknown one. Raises what `decode` raises.
    """
    try:
        return decode(body)
    except msgspec.ValidationError:  # JSON, and of another shape
        raise
    except (msgspec.DecodeError, ValueError):  # ValueError: orjson's error, and that of bytes that are no text
        if len(body) > LARGEST or not _MENDABLE.search(body):
            raise
        try:
            mended = _mended(body)
        except (ValueError, RecursionError):
            mended = body
        return decode(mended)


def _mended(body: bytes) -> bytes:
    document = json.loads(body.decode(), parse_constant=lambda _: None)
    # by way of UTF-16, for there a half is told from a pair
    halves = json.dumps(document, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
    return halves.decode("utf-16-le", "replace").encode()


def document_in(text: str) -> Any:  # noqa: ANN401  # whatever stands in it
    """JSON in a text, or a mapping or a list as Python writes it. Raises `ValueError` where it is neither."""
    try:
        return decoded(orjson.loads, text.encode("utf-8", "replace"))
    except orjson.JSONDecodeError as error:
        if not text.lstrip().startswith(("{", "[")):
            raise
        try:
            found = ast.literal_eval(_WRAPPED_NUMBER.sub(r"\1", text.strip()) if len(text) <= _LONGEST else "")
            return orjson.loads(orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS))  # no bytes, no sets
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise error from None
