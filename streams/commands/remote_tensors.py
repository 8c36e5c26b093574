"""What a model says about its tensors, beside what the settings say: names, types and shapes. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .findings import Finding, fault, note

if TYPE_CHECKING:
    from ..settings.keys.remote import RemoteSettings

#: in a shape, a length that each call has of its own
_ANY = -1
#: what MLServer's runtime for Hugging Face says of its tensors of text: of the input, and how its outputs are written.
#: It answers otherwise: several texts are taken as `_TEXTS` alone, and the output is always `_ANSWERS`
_SAYS, _WRITES = "args", "hg_json"
_TEXTS, _ANSWERS = "array_inputs", "output"


class _Tensor(NamedTuple):
    """One tensor, as the model describes it."""

    datatype: str
    shape: tuple[int, ...] | None  #: None where it says none that can be read
    content: Any  #: what MLServer says of the data's form, beside their type


def described(document: Any, remote: RemoteSettings, sample: Any = None) -> Iterator[Finding]:  # noqa: ANN401  # any JSON
    """Where the model's tensors are not those of the settings, and what to set. `sample`: an input, if known."""
    inputs, outputs = _tensors(document, "inputs"), _tensors(document, "outputs")
    if _SAYS in inputs and any(tensor.content == _WRITES for tensor in outputs.values()):
        yield from _of_hugging_face(remote)
        return
    taken = inputs.get(remote.input_name)
    if inputs and (taken is None or taken.datatype != remote.datatype):
        says = ", ".join(f"{name!r} of {tensor.datatype}" for name, tensor in inputs.items())
        asked = f"{remote.input_name!r} of {remote.datatype}"
        yield note("remote", f"says that it takes {says}, not {asked}: are [remote] input_name and datatype right?")
    elif taken is not None and taken.shape is not None:
        yield from _of_input(taken.shape, remote, sample)
    given = outputs.get(remote.output_name)
    if outputs and given is None:
        says = ", ".join(map(repr, outputs))
        yield note(
            "remote", f"says that it puts out {says}, not {remote.output_name!r}: is [remote] output_name right?"
        )
    elif given is not None and given.shape is not None and remote.output != "scored" and given.datatype != "BYTES":
        yield from _of_classes(given.shape, remote)


def _of_hugging_face(remote: RemoteSettings) -> Iterator[Finding]:
    """Its inputs and its output have other names than it says; texts may come as a row or as a column."""
    alone = remote.input_name == _SAYS and remote.batch_size == 1
    if remote.input_name != _TEXTS and not alone:
        why = f"is MLServer's runtime for Hugging Face, which takes several texts in a call as {_TEXTS!r} alone"
        yield fault("remote", f'{why}: set [remote] input_name = "{_TEXTS}"')
    if remote.datatype != "BYTES":
        yield fault("remote", f'takes texts, not {remote.datatype}: set [remote] datatype = "BYTES"')
    if remote.output_name != _ANSWERS:
        why = f"is MLServer's runtime for Hugging Face, whose output is {_ANSWERS!r} whatever it says"
        yield fault("remote", f'{why}: set [remote] output_name = "{_ANSWERS}"')


def _of_input(shape: tuple[int, ...], remote: RemoteSettings, sample: Any) -> Iterator[Finding]:  # noqa: ANN401  # any JSON
    one = _shape_of(sample, remote)
    if one is None:
        return
    says = f"says that it takes {remote.input_name!r} as {_shown(shape)}"
    column = remote.input_shape == "column" and not one
    sent = (_ANY, 1) if column else (_ANY, *one)
    if _fits(shape, sent):
        if shape[0] > 0 and remote.batch_size > shape[0]:
            yield note("remote", f"{says}: set [remote] batch_size to {shape[0]}")
    elif not one and not column and _fits(shape, (_ANY, 1)):
        yield fault("remote", f'{says}, and inputs go as {_shown(sent)}: set [remote] input_shape = "column"')
    elif column and _fits(shape, (_ANY,)):
        yield fault("remote", f'{says}, and inputs go as {_shown(sent)}: set [remote] input_shape = "as_given"')
    else:
        yield note("remote", f"{says}, and inputs go as {_shown(sent)}: is an input what the model takes?")


def _shape_of(sample: Any, remote: RemoteSettings) -> tuple[int, ...] | None:  # noqa: ANN401  # any JSON
    """The shape of one input. Where none is known, texts are taken for one text each."""
    if sample is None:
        return () if remote.datatype == "BYTES" else None
    try:
        return tuple(np.shape(sample))
    except ValueError:  # its rows differ in length
        return None


def _fits(there: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    return len(there) == len(ours) and all(_ANY in pair or pair[0] == pair[1] for pair in zip(there, ours, strict=True))


def _of_classes(shape: tuple[int, ...], remote: RemoteSettings) -> Iterator[Finding]:
    says = f"says that it puts out {remote.output_name!r} as {_shown(shape)}"
    row = [length for length in shape[1:] if length != 1] or list(shape[1:2])  # [n, 1, 2] is read as [n, 2]
    if len(row) != 1:
        why = 'is [remote] output_name right, or output = "scored" meant?'
        yield note("remote", f"{says}, not as a row of classes for each input: {why}")
    elif remote.labels and row[0] not in (_ANY, len(remote.labels)):
        yield fault("remote", f"{says}: [remote] labels must name {row[0]} classes, and names {len(remote.labels)}")


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join('n' if length == _ANY else str(length) for length in shape)}]"


def _tensors(document: Any, side: str) -> dict[str, _Tensor]:  # noqa: ANN401  # whatever a server says
    """The tensors by name, of what follows the protocol."""
    listed = document.get(side) if isinstance(document, dict) else None
    tensors = [tensor for tensor in listed if isinstance(tensor, dict)] if isinstance(listed, list) else []
    return {str(tensor.get("name")): _tensor(tensor) for tensor in tensors}


def _tensor(told: dict[str, Any]) -> _Tensor:
    parameters = told.get("parameters")
    content = parameters.get("content_type") if isinstance(parameters, dict) else None
    return _Tensor(str(told.get("datatype")), _shape(told.get("shape")), content)


def _shape(told: Any) -> tuple[int, ...] | None:  # noqa: ANN401  # as above
    """Lengths, which some servers write as text."""
    try:
        shape = tuple(max(_ANY, int(length)) for length in told)
    except (TypeError, ValueError):
        return None
    return shape or None
