"""Protobuf: a schema as a function from bytes to a document of JSON. Needs the extra `registry`.

A registry holds the source of a file, or its descriptor in Base64, which is what confluent-kafka registers. A source is
compiled by Protobuf's own compiler, in a process of its own: what a hostile source does to it, it does to nobody else.
A document is what Protobuf's mapping to JSON says, with the names of the source: numbers of 64 bits become text.
"""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ...schemas.errors import InvalidRequest
from .framing import message_of
from .registry import RegistryUnavailable, Schema, SchemaUnknown

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FileDescriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

#: Protobuf's own files that stand alone
_GOOGLES = frozenset(
    f"google/protobuf/{name}.proto"
    for name in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
)
#: the file itself, beside those that it refers to
_FILE = "value.proto"
_COMPILE_S = 30.0


def protobuf_reader(schema: Schema) -> Callable[[bytes], Any]:
    """What reads data of this schema, and raises `InvalidRequest`. Raises `SchemaUnknown` where there is none.

    It compiles: call it in a thread.
    """
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from google.protobuf.message_factory import GetMessageClass

    file = _file(_compiled(schema))

    def read(data: bytes) -> Any:  # noqa: ANN401  # any JSON value
        indexes, rest = message_of(data)
        message = GetMessageClass(_message(file, indexes))()
        try:
            message.ParseFromString(rest)
            return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        except (DecodeError, ValueError, TypeError, RecursionError) as error:
            raise InvalidRequest(f"the value is not of its Protobuf schema: {error}") from error

    return read


def _message(file: FileDescriptor, indexes: tuple[int, ...]) -> Descriptor:
    try:
        found = list(file.message_types_by_name.values())[indexes[0]] if indexes[0] >= 0 else None
        for index in indexes[1:]:
            found = found.nested_types[index] if found is not None and index >= 0 else None
    except IndexError:
        found = None
    if found is None:
        raise InvalidRequest(f"its Protobuf schema has no message {'.'.join(map(str, indexes))}")
    return found


def _file(compiled: FileDescriptorSet) -> FileDescriptor:
    from google.protobuf.descriptor_pool import DescriptorPool

    pool = DescriptorPool()  # one for each schema: another may have the same names
    try:
        for one in compiled.file:
            pool.Add(one)
        return pool.FindFileByName(_FILE)
    except (KeyError, TypeError) as error:
        raise SchemaUnknown(f"is no Protobuf schema that can be used: {error}") from error


def _compiled(schema: Schema) -> FileDescriptorSet:
    """The file as `_FILE`, behind all that it needs."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files = (*schema.references, (_FILE, schema.text))
    described = [_described(name, text) for name, text in files]
    known = [one for one in described if one is not None]
    if len(known) == len(files):
        return FileDescriptorSet(file=[*_of_google(known), *known])
    if known:
        raise SchemaUnknown("is given as source, and what it refers to as descriptors, or the other way round")
    return _from_sources(files)


def _described(name: str, text: str) -> FileDescriptorProto | None:
    """The descriptor that a text is, under this name; None where it is a source."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import DecodeError

    if not text.strip():
        return None
    try:
        found = FileDescriptorProto.FromString(b64decode(text, validate=True))
    except (ValueError, DecodeError):
        return None
    found.name = name
    return found


def _of_google(files: list[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Those of Protobuf's own files that these import. None of them imports one that stands behind it here."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    found: dict[str, FileDescriptorProto] = {}
    for name in (name for file in files for name in file.dependency if name in _GOOGLES):
        module = import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
        found[name] = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(found[name])
    return list(found.values())


def _from_sources(files: Sequence[tuple[str, str]]) -> FileDescriptorSet:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    with TemporaryDirectory(prefix="bisupervised-proto-") as name:
        folder = Path(name)
        for reference, text in files:
            _written(folder, reference, text)
        said = _protoc(folder)
        out = folder / "out.bin"
        if said or not out.is_file():
            raise SchemaUnknown(f"is no Protobuf source that can be used: {said or 'nothing came out'}")
        return FileDescriptorSet.FromString(out.read_bytes())


def _written(folder: Path, name: str, text: str) -> None:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise SchemaUnknown(f"refers to a file of a name that leads elsewhere: {name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _protoc(folder: Path) -> str:
    """What the compiler has against the file; '' for nothing."""
    import grpc_tools

    ours = Path(grpc_tools.__file__).parent / "_proto"  # google/protobuf/timestamp.proto and the like
    paths = [f"--proto_path={folder}", f"--proto_path={ours}"]
    out = ["--include_imports", f"--descriptor_set_out={folder / 'out.bin'}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", *paths, *out, _FILE]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_COMPILE_S, check=False)  # noqa: S603  # our interpreter, with names made here
    except subprocess.TimeoutExpired as error:
        raise SchemaUnknown(f"is not compiled within {_COMPILE_S:g} s") from error
    except OSError as error:  # no memory or no process for it now: nothing is known about the schema
        raise RegistryUnavailable(f"the compiler cannot be started: {error}") from error
    lines = done.stderr.decode(errors="replace").replace(str(folder), "").splitlines()
    said = "; ".join(line.lstrip("/") for line in lines if ".proto:" in line and " parser.cc:" not in line)
    return (said or f"the compiler ended with status {done.returncode}") if done.returncode else ""
