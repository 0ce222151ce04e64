"""Qwen 2 and 2.5: as Llama, with biases where attention projects; windows where asked for."""

from motorpool.modelserver.llm.checkpoint.blocks import decoder
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


def build(net: Network) -> Value:
    return decoder(net, windowed=bool(net.config.raw.get("use_sliding_window")))
