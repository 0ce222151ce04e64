"""How an embedding checkpoint makes one vector of a text's many; sentence-transformers' files.

`modules.json` names the steps: the model, a pooling, and maybe a normalisation.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from motorpool.modelserver.llm.checkpoint.files import read_json, read_json_list
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network
from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions, PoolingWay

_MODES: dict[str, PoolingWay] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_NAMES: dict[str, PoolingWay] = {"cls": "cls", "mean": "mean", "lasttoken": "last"}


@dataclass(frozen=True, slots=True)
class Pooling:
    way: PoolingWay
    normalize: bool
    max_tokens: int | None  # of a text, where the files say so


def chosen_pooling(
    checkpoint: Path, options: CheckpointOptions, *, encoder: bool
) -> Pooling | None:
    """As the files say, but for what *options* says; None for a checkpoint that generates."""
    found = read_pooling(checkpoint, encoder=encoder)
    if found is None:
        if not options.embeds:
            return None
        found = Pooling("last", normalize=True, max_tokens=None)
    normalize = found.normalize if options.normalize is None else options.normalize
    return replace(found, way=options.pooling or found.way, normalize=normalize)


def read_pooling(checkpoint: Path, *, encoder: bool) -> Pooling | None:
    """None for a checkpoint that generates. An encoder without modules is pooled by the mean."""
    modules = checkpoint / "modules.json"
    if not modules.is_file():
        return Pooling("mean", normalize=True, max_tokens=None) if encoder else None
    way: PoolingWay | None = None
    normalize = False
    for module in read_json_list(modules):
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind == "Pooling":
            way = _way(read_json(checkpoint / str(module.get("path", "")) / "config.json"))
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise CheckpointError(
                f"{modules} has a step {kind!r}, this engine knows Transformer, Pooling and "
                "Normalize"
            )
    if way is None:
        raise CheckpointError(f"{modules} has no pooling")
    return Pooling(way, normalize, _max_tokens(checkpoint))


def _way(settings: dict[str, Any]) -> PoolingWay:
    if settings.get("pooling_mode") in _NAMES:
        return _NAMES[settings["pooling_mode"]]
    chosen = [
        name for name, value in settings.items() if name.startswith("pooling_mode_") and value
    ]
    if len(chosen) != 1 or chosen[0] not in _MODES:
        raise CheckpointError(
            f"a pooling of {', '.join(chosen) or 'nothing'} is not known, known are one of "
            f"{', '.join(_MODES)}"
        )
    return _MODES[chosen[0]]


def _max_tokens(checkpoint: Path) -> int | None:
    path = checkpoint / "sentence_bert_config.json"
    value = read_json(path).get("max_seq_length") if path.is_file() else None
    return value if isinstance(value, int) else None


def pool(net: Network, states: Value, pooling: Pooling) -> Value:
    """From [texts, tokens, width] to [texts, width]; padding is on the right."""
    graph = net.graph
    mask = graph.op("Convert", net.attention_mask, destination_type="f32")
    if pooling.way == "cls":
        weights = _first(net, mask)
    elif pooling.way == "last":
        weights = _last(net, mask)
    else:
        count = graph.op("ReduceSum", mask, graph.ints([1]), keep_dims=True)
        weights = graph.op("Divide", mask, count, auto_broadcast="numpy", m_pythondiv=True)
    weighed = net.multiply(states, net.unsqueeze(weights, 2))
    vector = graph.op("ReduceSum", weighed, graph.ints([1]), keep_dims=False)
    if not pooling.normalize:
        return vector
    square = graph.op("ReduceSum", net.multiply(vector, vector), graph.ints([1]), keep_dims=True)
    least = graph.floats(1e-24)
    square = graph.op("Maximum", square, least, auto_broadcast="numpy")
    root = graph.op("Sqrt", square)
    return graph.op("Divide", vector, root, auto_broadcast="numpy", m_pythondiv=True)


def _first(net: Network, mask: Value) -> Value:
    """1 at the first token of each text, else 0."""
    return _at(net, mask, net.graph.floats(1.0))


def _last(net: Network, mask: Value) -> Value:
    count = net.graph.op("ReduceSum", mask, net.graph.ints([1]), keep_dims=True)
    return _at(net, mask, count)


def _at(net: Network, mask: Value, number: Value) -> Value:
    """1 where *number* tokens have been seen, the own one included, and there is no padding."""
    graph = net.graph
    axis = graph.constant(np.array(1, np.int64))
    seen = graph.op("CumSum", mask, axis, version="opset3", exclusive=False, reverse=False)
    here = graph.op("Equal", seen, number, auto_broadcast="numpy")
    return net.multiply(graph.op("Convert", here, destination_type="f32"), mask)
