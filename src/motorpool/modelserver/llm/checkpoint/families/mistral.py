"""Mistral: as Llama, where each token sees a window of those before it."""

from motorpool.modelserver.llm.checkpoint.blocks import decoder
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


def build(net: Network) -> Value:
    return decoder(net, windowed=True)
