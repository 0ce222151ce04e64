"""The manifests of the public guides, which lie beside this repository and not in it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

_BESIDE = [parent / "shared" / "guide" / "manifests" for parent in Path(__file__).parents[1:]]
FOLDER = next((folder for folder in _BESIDE if folder.is_dir()), _BESIDE[0])

needed = pytest.mark.skipif(not FOLDER.is_dir(), reason="the guides' manifests are not here")


def objects_of(path: Path) -> list[dict[str, Any]]:
    """Every object of a file, those of its lists too."""
    documents = [d for d in yaml.safe_load_all(path.read_text()) if d]
    return [item for d in documents for item in (d["items"] if d["kind"] == "List" else [d])]
