"""The blocks that the architectures are put together from.

The graph has the form that the engine's rewrite to paged attention looks for: states of keys and
values per layer, read, gathered by `beam_idx`, concatenated and assigned; one
ScaledDotProductAttention a layer; a mask from `attention_mask`, which the rewrite drops, but for a
sliding window, which it finds by the mask's exact form.
"""

from dataclasses import dataclass

import numpy as np

from motorpool.modelserver.llm.checkpoint.config import Config
from motorpool.modelserver.llm.checkpoint.frequencies import longest
from motorpool.modelserver.llm.checkpoint.graph import Graph, Value
from motorpool.modelserver.llm.checkpoint.weights import Weights
from motorpool.modelserver.llm.contract import CheckpointError

MASKED = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class Attention:
    """What differs between architectures and layers."""

    layer: int
    scale: float
    window: int | None = None  # tokens that are seen, the own one included


class Network:
    """A graph under construction, with the checkpoint's weights at hand by name."""

    def __init__(
        self,
        graph: Graph,
        config: Config,
        weights: Weights,
        max_model_len: int | None = None,
        *,
        remembers: bool = True,
    ) -> None:
        """One that *remembers* continues texts; else each is seen once, as for embeddings."""
        self.graph = graph
        self.config = config
        self.weights = weights
        self.max_model_len = max_model_len  # to be served, where it is less than the checkpoint's
        self.length = max_model_len or longest(config)
        self.input_ids = graph.parameter("input_ids", "i64", (-1, -1))
        self.attention_mask = graph.parameter("attention_mask", "i64", (-1, -1))
        self.position_ids = graph.parameter("position_ids", "i64", (-1, -1))
        self._beam_idx = graph.parameter("beam_idx", "i32", (-1,)) if remembers else None
        self.kinds: Value | None = None  # of the tokens, where there are several
        self.batch = self._size(self.input_ids, 0)
        self._masks: dict[int | None, Value] = {}

    # Arithmetic, with numpy's broadcasting.

    def add(self, a: Value, b: Value) -> Value:
        return self.graph.op("Add", a, b, auto_broadcast="numpy")

    def multiply(self, a: Value, b: Value | float) -> Value:
        factor = self.graph.floats(b) if isinstance(b, float | int) else b
        return self.graph.op("Multiply", a, factor, auto_broadcast="numpy")

    def reshape(self, value: Value, *shape: int) -> Value:
        """0 keeps a dimension, -1 is what is left."""
        return self.graph.op("Reshape", value, self.graph.ints(shape), special_zero=True)

    def transpose(self, value: Value, *order: int) -> Value:
        return self.graph.op("Transpose", value, self.graph.ints(order))

    def unsqueeze(self, value: Value, axis: int) -> Value:
        return self.graph.op("Unsqueeze", value, self.graph.ints(axis))

    def concat(self, axis: int, *values: Value) -> Value:
        return self.graph.op("Concat", *values, axis=axis)

    def _size(self, value: Value, axis: int) -> Value:
        """One dimension, as a vector of one."""
        shape = self.graph.op("ShapeOf", value, version="opset3", output_type="i64")
        return self.gather(shape, self.graph.ints([axis]))

    def gather(self, value: Value, indices: Value) -> Value:
        axis = self.graph.ints(0)
        return self.graph.op("Gather", value, indices, axis, version="opset8", batch_dims=0)

    # Blocks.

    def embedding(self, name: str) -> Value:
        return self.weights.rows(name, self.input_ids)

    def linear(self, x: Value, name: str, *, head: bool = False) -> Value:
        """With the bias, where the checkpoint has one."""
        y = self.weights.project(x, name, head=head)
        if self.weights.has(f"{name}.bias"):
            y = self.add(y, self.weights.vector(f"{name}.bias"))
        return y

    def rms_norm(self, x: Value, name: str, *, plus_one: bool = False) -> Value:
        graph = self.graph
        square = graph.op("Power", x, graph.floats(2.0), auto_broadcast="numpy")
        mean = graph.op("ReduceMean", square, graph.ints([-1]), keep_dims=True)
        root = graph.op("Sqrt", self.add(mean, graph.floats(self.config.norm_eps)))
        normed = graph.op("Divide", x, root, auto_broadcast="numpy", m_pythondiv=True)
        return self.multiply(normed, self.weights.vector(f"{name}.weight", plus=float(plus_one)))

    def layer_norm(self, x: Value, name: str) -> Value:
        normed = self.graph.op(
            "MVN",
            x,
            self.graph.ints([-1]),
            version="opset6",
            eps=self.config.norm_eps,
            normalize_variance=True,
            eps_mode="inside_sqrt",
        )
        y = self.multiply(normed, self.weights.vector(f"{name}.weight"))
        return self.add(y, self.weights.vector(f"{name}.bias"))

    def heads(self, x: Value, count: int) -> Value:
        """[batch, tokens, width] -> [batch, heads, tokens, width of a head]"""
        return self.transpose(self.reshape(x, 0, 0, count, -1), 0, 2, 1, 3)

    def attend(self, q: Value, k: Value, v: Value, about: Attention) -> Value:
        """Of heads, after positions are in; -> [batch, tokens, width]."""
        config = self.config
        k = self._remember(k, f"past_key_values.{about.layer}.keypresent.{about.layer}.key")
        v = self._remember(v, f"past_key_values.{about.layer}.valuepresent.{about.layer}.value")
        mask = self._mask(about.window)
        scale = self.graph.floats(about.scale)
        y = self.graph.op(
            "ScaledDotProductAttention",
            q,
            self._repeat(k),
            self._repeat(v),
            mask,
            scale,
            version="opset13",
            causal=False,
        )
        return self.reshape(self.transpose(y, 0, 2, 1, 3), 0, 0, config.heads * config.head_dim)

    def attend_to_all(self, q: Value, k: Value, v: Value, scale: float) -> Value:
        """Of heads, without an order; -> [batch, tokens, width]."""
        graph = self.graph
        real = graph.op("Convert", self.attention_mask, destination_type="boolean")
        mask = graph.op(
            "Select",
            self.unsqueeze(self.unsqueeze(real, 1), 1),
            graph.floats(0.0),
            graph.floats(MASKED),
            auto_broadcast="numpy",
        )
        y = graph.op(
            "ScaledDotProductAttention",
            *(q, k, v, mask, graph.floats(scale)),
            version="opset13",
            causal=False,
        )
        return self.reshape(self.transpose(y, 0, 2, 1, 3), 0, 0, self.config.hidden)

    def gated(self, gate: Value, up: Value) -> Value:
        return self.multiply(self.activate(gate), up)

    def activate(self, x: Value) -> Value:
        graph, activation = self.graph, self.config.activation
        if activation in ("silu", "swish"):
            return graph.op("Swish", x, version="opset4")
        if activation == "relu":
            return graph.op("ReLU", x)
        modes = {"gelu": "ERF", "gelu_pytorch_tanh": "TANH", "gelu_new": "TANH"}
        mode = modes.get(activation)
        if mode is None:
            raise CheckpointError(f"config.json: the activation {activation!r} is not known")
        return graph.op("Gelu", x, version="opset7", approximation_mode=mode)

    def head(self, x: Value) -> Value:
        """Logits, from the embedding's own matrix where the two are tied; states for embeddings."""
        if self._beam_idx is None:
            return x
        tied = self.config.tied or not self.weights.has_matrix("lm_head")
        return self.linear(x, "model.embed_tokens" if tied else "lm_head", head=True)

    def soft_cap(self, x: Value, cap: float) -> Value:
        return self.multiply(self.graph.op("Tanh", self.multiply(x, 1.0 / cap)), cap)

    # Keys, values and the mask.

    def _remember(self, new: Value, variable: str) -> Value:
        graph, config, beam_idx = self.graph, self.config, self._beam_idx
        if beam_idx is None:
            return new
        shape = self.concat(0, self.batch, graph.ints([config.kv_heads, 0, config.head_dim]))
        empty = graph.op("Broadcast", graph.floats(0.0), shape, version="opset3", mode="numpy")
        past = graph.op(
            "ReadValue",
            empty,
            version="opset6",
            variable_id=variable,
            variable_type="f32",
            variable_shape=f"?,{config.kv_heads},?,{config.head_dim}",
        )
        past = self.gather(past, beam_idx)
        both = self.concat(-2, past, new)
        graph.assign(variable, both)
        return both

    def _repeat(self, x: Value) -> Value:
        """Each head of keys and values for all the heads of queries that share it."""
        config = self.config
        times = config.heads // config.kv_heads
        if times == 1:
            return x
        shape = self.graph.ints([1, 1, times, 1, 1])
        wide = self.graph.op(
            "Broadcast", self.unsqueeze(x, 2), shape, version="opset3", mode="bidirectional"
        )
        return self.reshape(wide, 0, config.heads, -1, config.head_dim)

    def _mask(self, window: int | None) -> Value:
        found = self._masks.get(window)
        if found is None:
            found = self._masks[window] = self._make_mask(window)
        return found

    def _make_mask(self, window: int | None) -> Value:
        graph = self.graph
        zero, one = graph.ints(0), graph.ints(1)
        kv_len = self._size(self.attention_mask, 1)
        q_len = self._size(self.input_ids, 1)
        end = graph.op("Squeeze", kv_len, zero)
        past = graph.op("Subtract", end, graph.op("Squeeze", q_len, zero), auto_broadcast="numpy")
        kv = graph.op("Range", zero, end, one, version="opset4", output_type="i64")
        q = self.unsqueeze(
            graph.op("Range", past, end, one, version="opset4", output_type="i64"), 1
        )
        seen = graph.op("LessEqual", kv, q, auto_broadcast="numpy")
        real = graph.op("Convert", self.attention_mask, destination_type="boolean")
        real = self.unsqueeze(self.unsqueeze(real, 1), 1)
        yes = graph.constant(np.array(True))

        def both(a: Value, b: Value) -> Value:
            return graph.op("BitwiseAnd", a, b, version="opset13", auto_broadcast="numpy")

        allowed = both(seen, real)
        if window is not None:
            # The order of these is what the engine's rewrite looks for.
            far = self.add(q, graph.ints(-window))
            near = both(yes, graph.op("Greater", kv, far, auto_broadcast="numpy"))
            allowed = both(both(yes, both(near, seen)), real)
        allowed = graph.op(
            "Broadcast", allowed, graph.ints([1, 1, 1, 1]), version="opset3", mode="bidirectional"
        )
        mask = graph.op(
            "Select", allowed, graph.floats(0.0), graph.floats(MASKED), auto_broadcast="numpy"
        )
        return graph.op(
            "Slice",
            mask,
            graph.ints([0]),
            kv_len,
            graph.ints([1]),
            graph.ints([3]),
            version="opset8",
        )
