"""Several requests as one: which fit together, and whose answer is whose. Pure.

Requests fit where they differ in nothing but their rows, the first dimension. A model can be asked
so only where each row is computed by itself, with no other row in sight.
"""

from collections.abc import Sequence

import numpy as np

from motorpool.modelserver.tensors import ANY, Array, ModelSpec

Arrays = Sequence[Array]


def is_batchable(spec: ModelSpec) -> bool:
    """Whether every tensor begins with a dimension that may have any size."""
    tensors = (*spec.inputs, *spec.outputs)
    return all(
        each.shape and each.shape[0].high == ANY and each.layout.startswith("N") for each in tensors
    )


def rows_of(arrays: Arrays) -> int:
    """How many rows a request has; 0 where its tensors do not agree."""
    counts = {array.shape[0] if array.ndim else 0 for array in arrays}
    return counts.pop() if len(counts) == 1 else 0


def fit(one: Arrays, other: Arrays) -> bool:
    return all(
        a.dtype == b.dtype and a.shape[1:] == b.shape[1:] for a, b in zip(one, other, strict=True)
    )


def joined(requests: Sequence[Arrays]) -> list[Array]:
    return [np.concatenate(tensors) for tensors in zip(*requests, strict=True)]


def split(outputs: Arrays, rows: Sequence[int]) -> list[list[Array]] | None:
    """The outputs of each request; None where the model did not answer row by row."""
    total = sum(rows)
    if any(array.ndim == 0 or array.shape[0] != total for array in outputs):
        return None
    ends = np.cumsum(rows)
    return [
        [array[end - count : end] for array in outputs]
        for end, count in zip(ends.tolist(), rows, strict=True)
    ]
