"""A mixture of experts: each token goes through the few experts that a router chose for it.

An expert multiplies the tokens that chose it and no others: without any it costs nothing, and its
weights are not read.
"""

from collections.abc import Callable, Sequence

import numpy as np

from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network

Expert = Callable[[Value], Value]


def mixture(net: Network, x: Value, scores: Value, chosen: int, experts: Sequence[Expert]) -> Value:
    """*scores* are the router's, [batch, tokens, experts]; the chosen ones' softmax weighs them."""
    graph, hidden = net.graph, net.config.hidden
    flat = net.reshape(x, -1, hidden)
    best, which = graph.top(net.reshape(scores, -1, len(experts)), chosen)
    shares = graph.op("SoftMax", best, version="opset8", axis=-1)
    # [tokens, experts], zero where an expert was not chosen.
    on, off = graph.floats(1.0), graph.floats(0.0)
    spread = graph.op("OneHot", which, graph.ints(len(experts)), on, off, axis=-1)
    weights = graph.op(
        "ReduceSum",
        net.multiply(spread, net.unsqueeze(shares, 2)),
        graph.ints([1]),
        keep_dims=False,
    )
    out = net.multiply(flat, 0.0)
    columns = graph.split(weights, 1, [1] * len(experts))
    for column, expert in zip(columns, experts, strict=True):
        chosen_it = graph.op("Greater", column, graph.floats(0.0), auto_broadcast="numpy")
        rows = graph.op("NonZero", net.reshape(chosen_it, -1), version="opset3", output_type="i64")
        rows = graph.op("Squeeze", rows, graph.ints(0))
        y = net.multiply(expert(net.gather(flat, rows)), net.gather(column, rows))
        out = graph.op(
            "ScatterUpdate",
            out,
            rows,
            net.add(net.gather(out, rows), y),
            graph.constant(np.array(0, np.int64)),
            version="opset3",
        )
    shape = graph.op("ShapeOf", x, version="opset3", output_type="i64")
    return graph.op("Reshape", out, shape, special_zero=False)
