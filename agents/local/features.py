"""A model's second output: features of each input, which the learned score may read and nothing else does.

A callable or a file of torch that has some returns them beside what it returned without: a pair of two arrays, or a
table {"logits": …, "features": …}, whose first key is what `[local] output` says. Formats that can leave them away put
them out only where somebody reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..answers import Output
from ..supervision.learned.deferral import MOST_FEATURES, Features
from .formats.loaded import FEATURES


def parted(returned: Any, output: Output) -> tuple[Any, Any]:  # noqa: ANN401  # arrays, tensors, or lists
    """What the model puts out as `output`, and its features; None where it gives none.

    A pair counts as such where its first part is a table: two rows of classes are two answers. Raises `ValueError` for
    a table of outputs without that one.
    """
    if isinstance(returned, Mapping):
        if output not in returned:
            raise ValueError(f"a table of outputs must hold {output!r}; it holds {', '.join(map(str, returned))}")
        return returned[output], returned.get(FEATURES)
    if isinstance(returned, tuple) and len(returned) == 2 and output in ("logits", "probabilities"):
        first, second = returned
        if np.ndim(first) == 2:
            return first, second
    return returned, None


def feature_table(features: Any, asked: int) -> Features:  # noqa: ANN401  # an array, a tensor, or lists of numbers
    """(asked, k), in single precision, as recordings keep them.

    Raises `ValueError` where they are none, not (asked, k), or more than can be read.
    """
    if features is None:
        raise ValueError(
            "it gives no features, which [local] features = true asks for: return a pair of outputs and features"
        )
    table = np.asarray(as_array(features), dtype=np.float32)
    if table.ndim != 2 or table.shape[0] != asked or not 1 <= table.shape[1] <= MOST_FEATURES:
        raise ValueError(
            f"features must be a table of {asked} rows and 1 to {MOST_FEATURES:,} columns, not {table.shape}"
        )
    return table


def as_array(outputs: Any) -> Any:  # noqa: ANN401  # an array, a tensor, or lists of numbers
    """The same as numpy knows it."""
    if hasattr(outputs, "detach"):  # a torch tensor, told without importing torch
        outputs = outputs.detach().cpu().double().numpy()  # double: numpy has no bfloat16
    return np.asarray(outputs)
