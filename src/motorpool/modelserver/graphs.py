"""Where OpenVINO Model Server's pull has left a graph beside a model: it says how to serve it."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

FILE = "graph.pbtxt"


def graph_directory(argv: Sequence[str]) -> Path | None:
    """Of the model that *argv* names last; None where that has no graph."""
    path = None
    for word, following in pairwise([*argv, ""]):
        name, separator, text = word.partition("=")
        if name in ("--model_path", "--model_dir"):
            path = Path(text if separator else following)
    if path is None:
        return None
    return next((each for each in (path, path / "1") if (each / FILE).is_file()), None)
