"""Qwen 3: as Qwen 2 without the biases, and each head of queries and keys has a norm."""

from motorpool.modelserver.llm.checkpoint.blocks import decoder
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


def build(net: Network) -> Value:
    windowed = bool(net.config.raw.get("use_sliding_window"))
    return decoder(net, windowed=windowed, norm_heads=True)
