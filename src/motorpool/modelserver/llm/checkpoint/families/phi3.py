"""Phi 3 and 4: as Llama, with q, k and v in one matrix and gate and up in another; windows."""

from motorpool.modelserver.llm.checkpoint.blocks import decoder
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


def build(net: Network) -> Value:
    return decoder(net, windowed=True)
