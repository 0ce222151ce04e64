"""Rotary positions in the graph.

Angles are computed from the positions, elementwise: a table would have to be as long as the
longest context.
"""

import math
from dataclasses import dataclass

import numpy as np

from motorpool.modelserver.llm.checkpoint.frequencies import Dynamic, Frequencies
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


@dataclass(frozen=True, slots=True)
class Rope:
    """cos and sin are [batch, 1, tokens, rotated]; what of a head is beyond *rotated* stays."""

    cos: Value
    sin: Value
    rotated: int
    head_dim: int

    def apply(self, net: Network, x: Value) -> Value:
        rest: list[Value] = []
        if self.rotated < self.head_dim:
            x, *rest = net.graph.split(x, 3, [self.rotated, self.head_dim - self.rotated])
        half = self.rotated // 2
        left, right = net.graph.split(x, 3, [half, half])
        turned = net.concat(-1, net.multiply(right, -1.0), left)
        y = net.add(net.multiply(x, self.cos), net.multiply(turned, self.sin))
        return net.concat(-1, y, *rest) if rest else y


def make_rope(net: Network, frequencies: Frequencies) -> Rope:
    graph = net.graph
    positions = graph.op("Convert", net.position_ids, destination_type="f32")
    positions = net.unsqueeze(net.unsqueeze(positions, 1), 3)
    if frequencies.dynamic is None:
        speeds = graph.constant(frequencies.values)
    else:
        speeds = _dynamic(net, positions, frequencies.dynamic, 2 * len(frequencies.values))
    angles = net.multiply(positions, speeds)
    angles = net.concat(-1, angles, angles)
    cos, sin = graph.op("Cos", angles), graph.op("Sin", angles)
    if frequencies.scale != 1.0:
        cos, sin = net.multiply(cos, frequencies.scale), net.multiply(sin, frequencies.scale)
    return Rope(cos, sin, 2 * len(frequencies.values), net.config.head_dim)


def _dynamic(net: Network, positions: Value, about: Dynamic, rotated: int) -> Value:
    """The speeds at each position, as if it were the last of its text."""
    graph = net.graph
    length = net.add(positions, graph.floats(1.0))
    length = graph.op("Maximum", length, graph.floats(float(about.trained)), auto_broadcast="numpy")
    grown = net.multiply(length, about.factor / about.trained)
    grown = net.add(grown, graph.floats(1.0 - about.factor))
    # base * grown ** (d / (d - 2)), to the power of -i / d: by logarithms.
    logarithm = net.multiply(graph.op("Log", grown), rotated / (rotated - 2))
    logarithm = net.add(logarithm, graph.floats(math.log(about.base)))
    shares = -np.arange(0, rotated, 2, dtype=np.float32) / np.float32(rotated)
    return graph.op("Exp", net.multiply(logarithm, graph.constant(shares)))
