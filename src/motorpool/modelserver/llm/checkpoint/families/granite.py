"""Granite 3: as Llama, with a factor on the embedding, attention, what a layer adds, and logits."""

from motorpool.modelserver.llm.checkpoint.blocks import mlp, positions, self_attention
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network


def build(net: Network) -> Value:
    config, rope = net.config, positions(net)
    scale = config.number("attention_multiplier", 1.0)
    share = config.number("residual_multiplier", 1.0)
    x = net.embedding("model.embed_tokens")
    x = net.multiply(x, config.number("embedding_multiplier", 1.0))
    for layer in range(config.layers):
        at = f"model.layers.{layer}"
        y = net.rms_norm(x, f"{at}.input_layernorm")
        x = net.add(x, net.multiply(self_attention(net, y, layer, rope, scale=scale), share))
        y = net.rms_norm(x, f"{at}.post_attention_layernorm")
        x = net.add(x, net.multiply(mlp(net, y, f"{at}.mlp"), share))
    logits = net.head(net.rms_norm(x, "model.norm"))
    return net.multiply(logits, 1.0 / config.positive("logits_scaling", 1.0))
