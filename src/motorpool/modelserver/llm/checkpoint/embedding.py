"""Texts to vectors: a compiled graph, run on as many texts at once as have about one length."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH_TOKENS = 4096  # with padding; more made nothing faster, and takes memory
BATCH_TEXTS = 64


class Embedding:
    """Blocking; one call at a time."""

    def __init__(self, graph: Path, device: str, properties: Mapping[str, Any]) -> None:
        import openvino as ov

        compiled = ov.Core().compile_model(graph, device, dict(properties))
        self._request = compiled.create_infer_request()

    def __call__(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One vector for each, in their order."""
        vectors: list[list[float]] = [[] for _ in prompts]
        for batch in batches([len(prompt) for prompt in prompts]):
            length = max(len(prompts[index]) for index in batch)
            ids = np.zeros((len(batch), length), np.int64)
            mask = np.zeros_like(ids)
            for row, index in enumerate(batch):
                ids[row, : len(prompts[index])] = prompts[index]
                mask[row, : len(prompts[index])] = 1
            self._request.infer(
                {
                    "input_ids": ids,
                    "attention_mask": mask,
                    "position_ids": np.broadcast_to(np.arange(length), ids.shape).copy(),
                }
            )
            found = self._request.get_output_tensor().data
            for row, index in enumerate(batch):
                vectors[index] = found[row].tolist()
        return vectors


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices, the shortest first: neighbours need the least padding."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        too_long = (len(batch) + 1) * lengths[index] > BATCH_TOKENS
        if batch and (too_long or len(batch) == BATCH_TEXTS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
