"""What most architectures have in common, over the network's operations."""

from motorpool.modelserver.llm.checkpoint.frequencies import read_frequencies
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Attention, Network
from motorpool.modelserver.llm.checkpoint.rope import Rope, make_rope


def positions(net: Network) -> Rope:
    return make_rope(net, read_frequencies(net.config, net.max_model_len))


def self_attention(
    net: Network,
    x: Value,
    layer: int,
    rope: Rope,
    *,
    scale: float | None = None,
    window: int | None = None,
    norm_heads: bool = False,
) -> Value:
    """Of projections that are apart or one matrix, as the checkpoint has them."""
    config, at = net.config, f"model.layers.{layer}.self_attn"
    q, k, v = _projections(net, x, at)
    q, k, v = (
        net.heads(q, config.heads),
        net.heads(k, config.kv_heads),
        net.heads(v, config.kv_heads),
    )
    if norm_heads:
        q, k = net.rms_norm(q, f"{at}.q_norm"), net.rms_norm(k, f"{at}.k_norm")
    # A window that no text can be longer than is none, and full attention is the faster.
    if window is not None and window >= net.length:
        window = None
    about = Attention(layer, scale or config.head_dim**-0.5, window)
    y = net.attend(rope.apply(net, q), rope.apply(net, k), v, about)
    return net.linear(y, f"{at}.o_proj")


def _projections(net: Network, x: Value, at: str) -> list[Value]:
    if not net.weights.has_matrix(f"{at}.qkv_proj"):
        return [net.linear(x, f"{at}.{name}_proj") for name in "qkv"]
    config = net.config
    widths = [config.heads, config.kv_heads, config.kv_heads]
    return net.graph.split(
        net.linear(x, f"{at}.qkv_proj"), -1, [n * config.head_dim for n in widths]
    )


def mlp(net: Network, x: Value, at: str) -> Value:
    """Gated; gate and up apart or one matrix."""
    if net.weights.has_matrix(f"{at}.gate_up_proj"):
        wide = int(net.config.number("intermediate_size", 0))
        gate, up = net.graph.split(net.linear(x, f"{at}.gate_up_proj"), -1, [wide, wide])
    else:
        gate, up = net.linear(x, f"{at}.gate_proj"), net.linear(x, f"{at}.up_proj")
    return net.linear(net.gated(gate, up), f"{at}.down_proj")


def decoder(net: Network, *, windowed: bool = False, norm_heads: bool = False) -> Value:
    """Norm before each half of a layer, and what it makes added to what came in: to logits."""
    rope = positions(net)
    x = net.embedding("model.embed_tokens")
    for layer in range(net.config.layers):
        at = f"model.layers.{layer}"
        y = self_attention(
            net,
            net.rms_norm(x, f"{at}.input_layernorm"),
            layer,
            rope,
            window=net.config.window_of(layer) if windowed else None,
            norm_heads=norm_heads,
        )
        x = net.add(x, y)
        y = mlp(net, net.rms_norm(x, f"{at}.post_attention_layernorm"), f"{at}.mlp")
        x = net.add(x, y)
    return net.head(net.rms_norm(x, "model.norm"))
