"""How serializers of a schema registry begin a value: a zero byte, four bytes with the schema's id, and the data.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

from ...schemas.errors import InvalidRequest

_MAGIC = 0
_HEAD = 5
#: indexes of messages within messages, at most
_MOST_NESTED = 32


def schema_of(value: bytes) -> int | None:
    """The id of the schema; None for what is not framed so."""
    return int.from_bytes(value[1:_HEAD]) if len(value) >= _HEAD and value[0] == _MAGIC else None


def data_of(value: bytes) -> bytes:
    """What stands behind the frame. Raises `InvalidRequest` where there is none."""
    if schema_of(value) is None:
        begins = value[:_HEAD].hex(" ") or "nothing"
        raise InvalidRequest(
            f"the value is not framed by a schema registry: it begins with {begins}, not with 00 and the schema's id"
        )
    return value[_HEAD:]


def message_of(data: bytes) -> tuple[tuple[int, ...], bytes]:
    """Which message of a Protobuf file it is, as indexes from the outside in, and its bytes.

    Before them stand how many indexes there are and each of them, zigzag varints; a single 0 is the first message.
    Raises `InvalidRequest` where they cannot be read.
    """
    count, at = _varint(data, 0)
    if not count:
        return (0,), data[at:]
    if not 0 < count <= _MOST_NESTED:
        raise InvalidRequest("the value does not say which message of its schema it is")
    indexes = []
    for _ in range(count):
        index, at = _varint(data, at)
        indexes.append(index)
    return tuple(indexes), data[at:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint of 32 bits, and where it ends."""
    number = 0
    for place in range(5):
        if at + place >= len(data):
            break
        byte = data[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise InvalidRequest("the value does not say which message of its schema it is")
