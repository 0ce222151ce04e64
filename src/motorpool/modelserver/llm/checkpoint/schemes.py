"""Whether a checkpoint is quantised in a way that is known here. Pure.

How each weight is stored shows in its tensors; what is refused here is what they would not show.
"""

from collections.abc import Mapping
from typing import Any

from motorpool.modelserver.llm.contract import CheckpointError

FORMATS = ("dense", "int-quantized", "pack-quantized", "float-quantized", "naive-quantized")

_WAYS_OUT = (
    "serve the model's plain checkpoint with --quantization int8 or int4, or one in "
    "compressed-tensors' w8a8, w4a16 or FP8-dynamic"
)


def check_quantization(raw: Mapping[str, Any]) -> None:
    settings = raw.get("quantization_config") or raw.get("compression_config")
    if not settings:
        return
    if not isinstance(settings, Mapping):
        raise CheckpointError("config.json: quantization_config is no object")
    method = settings.get("quant_method")
    if method == "fp8":
        if settings.get("weight_block_size"):
            raise CheckpointError(
                f"config.json: quantization_config has fp8 in blocks of "
                f"{settings['weight_block_size']}, which this engine does not know; {_WAYS_OUT}"
            )
        return
    if method != "compressed-tensors":
        raise CheckpointError(
            f"config.json: weights are quantised with {method!r}, which this engine does not "
            f"know; {_WAYS_OUT}"
        )
    names = {settings.get("format")}
    groups = settings.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        names.add(group.get("format"))
    unknown = sorted(str(name) for name in names if name is not None and name not in FORMATS)
    if unknown:
        raise CheckpointError(
            f"config.json: quantization_config has the format {unknown[0]!r}, known are "
            f"{', '.join(FORMATS)}; {_WAYS_OUT}"
        )
