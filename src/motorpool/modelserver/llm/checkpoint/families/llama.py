"""Llama 2 and 3: grouped heads, rotary positions, a gated MLP."""

from motorpool.modelserver.llm.checkpoint.blocks import decoder
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


def build(net: Network) -> Value:
    return decoder(net)
