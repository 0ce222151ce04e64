"""BERT and RoBERTa: encoders, where each token sees all; norms after each half of a layer."""

import numpy as np

from motorpool.modelserver.llm.checkpoint.config import Config
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


def first_position(config: Config) -> int:
    """RoBERTa's come after that of the padding."""
    if "Roberta" not in config.architecture:
        return 0
    return int(config.number("pad_token_id", 1)) + 1


def build(net: Network) -> Value:
    config, graph = net.config, net.graph
    positions = net.add(net.position_ids, graph.ints(first_position(config)))
    x = net.embedding("embeddings.word_embeddings")
    x = net.add(x, net.weights.rows("embeddings.position_embeddings", positions))
    if net.kinds is not None:
        x = net.add(x, net.weights.rows("embeddings.token_type_embeddings", net.kinds))
    else:
        kinds = net.weights.stored("embeddings.token_type_embeddings.weight").floats(slice(0, 1))
        x = net.add(x, graph.constant(np.ascontiguousarray(kinds[0])))
    x = net.layer_norm(x, "embeddings.LayerNorm")
    for layer in range(config.layers):
        at = f"encoder.layer.{layer}"
        y = _attention(net, x, at)
        x = net.layer_norm(net.add(x, y), f"{at}.attention.output.LayerNorm")
        y = net.activate(net.linear(x, f"{at}.intermediate.dense"))
        y = net.linear(y, f"{at}.output.dense")
        x = net.layer_norm(net.add(x, y), f"{at}.output.LayerNorm")
    return x


def _attention(net: Network, x: Value, at: str) -> Value:
    heads = net.config.heads
    q, k, v = (
        net.heads(net.linear(x, f"{at}.attention.self.{name}"), heads)
        for name in ("query", "key", "value")
    )
    y = net.attend_to_all(q, k, v, net.config.head_dim**-0.5)
    return net.linear(y, f"{at}.attention.output.dense")
