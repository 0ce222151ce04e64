"""Mixtral: as Mistral, with a mixture of experts in place of the MLP."""

from functools import partial

from motorpool.modelserver.llm.checkpoint.blocks import positions, self_attention
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.moe import mixture
from motorpool.modelserver.llm.checkpoint.network import Network


def build(net: Network) -> Value:
    config, rope = net.config, positions(net)
    x = net.embedding("model.embed_tokens")
    for layer in range(config.layers):
        at = f"model.layers.{layer}"
        y = net.rms_norm(x, f"{at}.input_layernorm")
        x = net.add(x, self_attention(net, y, layer, rope, window=config.window_of(layer)))
        y = net.rms_norm(x, f"{at}.post_attention_layernorm")
        x = net.add(x, _experts(net, y, f"{at}.block_sparse_moe"))
    return net.head(net.rms_norm(x, "model.norm"))


def _experts(net: Network, x: Value, at: str) -> Value:
    count = int(net.config.number("num_local_experts", 8))
    chosen = int(net.config.number("num_experts_per_tok", 2))
    experts = [partial(_expert, net, f"{at}.experts.{number}") for number in range(count)]
    return mixture(net, x, net.linear(x, f"{at}.gate"), chosen, experts)


def _expert(net: Network, at: str, x: Value) -> Value:
    y = net.gated(net.linear(x, f"{at}.w1"), net.linear(x, f"{at}.w3"))
    return net.linear(y, f"{at}.w2")
