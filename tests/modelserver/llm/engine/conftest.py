"""One tiny checkpoint for all of these tests; its answers are always the same nonsense."""

from pathlib import Path
from typing import Any

import pytest

from motorpool.modelserver.llm.contract import CheckpointOptions
from tests.modelserver.llm.checkpoints import make_checkpoint

# So that rounding, which depends on who else is in a step, decides nothing.
EXACT: dict[str, Any] = {
    "graph": CheckpointOptions(precision="f32"),
    "kv_cache_precision": "f32",
    "properties": {"INFERENCE_PRECISION_HINT": "f32"},
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")
