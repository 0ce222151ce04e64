"""Files that nobody would write are refused with a reason, whatever is wrong with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motorpool.modelserver.llm.checkpoint import prepare
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions
from tests.modelserver.llm.checkpoints import FAMILIES, make_checkpoint
from tests.modelserver.llm.gguf import make_gguf

VALUES = [None, "x", "", -1, 0, 1, 3, 1e300, True, [], {}, [1], {"type": "yarn"}, {"factor": "x"}]


def refused(checkpoint: Path) -> bool:
    try:
        prepare(checkpoint, CheckpointOptions(precision="f32"), None, 0).close()
    except CheckpointError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_any_field_of_the_configuration_may_be_anything(family: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model", family)
    path = checkpoint / "config.json"
    config = json.loads(path.read_text())
    fields = [*config, "rope_scaling", "rope_parameters", "quantization_config", "text_config"]
    count = 0
    for field in fields:
        for value in VALUES:
            path.write_text(json.dumps({**config, field: value}))
            count += refused(checkpoint)
    assert count > len(fields)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F99"},
        {"dtype": ["F32"]},
        {"shape": [-1, -320]},
        {"shape": ["x"]},
        {"shape": None},
        {"data_offsets": [-8, 0]},
        {"data_offsets": [0]},
        {"data_offsets": [0, 1 << 60]},
        {"data_offsets": "ab"},
    ],
)
def test_a_tensor_that_lies_is_refused(entry: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    path = checkpoint / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["lm_head.weight"] |= entry
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    assert refused(checkpoint)


@pytest.mark.slow
def test_any_byte_of_a_gguf_head_may_be_another(tmp_path: Path) -> None:
    path = make_gguf(tmp_path / "model.gguf", "llama")
    data = path.read_bytes()
    rng = np.random.default_rng(2)
    count = 0
    for _ in range(150):
        broken = bytearray(data)
        for at in rng.integers(0, 1200, 3):
            broken[at] = rng.integers(0, 256)
        path.write_bytes(broken)
        count += refused(path)
    assert count > 30
