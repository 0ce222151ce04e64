"""What tells one graph from another: the checkpoint's files, the options and the engine.

A content digest of all weights would take longer than building the graph. Sizes, times and headers
alone would take a fine-tuned model for its parent where images are built with one time for all
files; so a piece of every tensor is looked at too.
"""

import hashlib
import json
import mmap
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from typing import Any

from motorpool.modelserver.llm.checkpoint.files import StoredTensor
from motorpool.modelserver.llm.contract import CheckpointOptions

LAYOUT = 1  # of what is written; raised with every change of how graphs are built
PIECE_BYTES = 256


def graph_key(settings: Any, tensors: Iterable[StoredTensor], options: CheckpointOptions) -> str:
    """The name of a graph; not of the path, so that copies of an image share it.

    *settings* are the checkpoint's, as JSON.
    """
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        digest.update(json.dumps(value, sort_keys=True, default=str).encode() + b"\0")

    add([LAYOUT, version("openvino-genai"), asdict(options), settings])
    for path, stored in groupby(
        sorted(tensors, key=lambda one: (one.path, one.offset)), lambda one: one.path
    ):
        status = path.stat()
        add([path.name, status.st_size, status.st_mtime_ns])
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            for one in stored:
                add([one.name, one.kind, one.shape, one.offset])
                # Off the start, where a tensor's first row may be that of an unused token.
                at = one.offset + max(0, one.size // 2 - PIECE_BYTES)
                digest.update(data[at : min(at + PIECE_BYTES, one.offset + one.size)])
    return digest.hexdigest()[:40]
