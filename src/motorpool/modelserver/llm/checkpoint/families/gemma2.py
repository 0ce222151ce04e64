"""Gemma 2: norms on both sides of each half of a layer, windows in every second layer, soft caps.

The engine's paged attention has no soft cap on its scores. Without the cap a large score weighs
more than it should, so such a checkpoint is refused until somebody says that this is wanted.
"""

import math

from motorpool.modelserver.llm.checkpoint.blocks import mlp, positions, self_attention
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network
from motorpool.modelserver.llm.contract import CheckpointError


def build(net: Network) -> Value:
    config, rope = net.config, positions(net)
    cap = config.number("attn_logit_softcapping", 0.0)
    if cap:
        raise CheckpointError(
            f"config.json: attn_logit_softcapping is {cap:g}, and this engine's attention has no "
            "soft cap; --hf-overrides '{\"attn_logit_softcapping\": null}' serves the model "
            "without it, which changes answers a little"
        )
    scale = config.positive("query_pre_attn_scalar", 256.0) ** -0.5
    x = net.multiply(net.embedding("model.embed_tokens"), math.sqrt(config.hidden))
    for layer in range(config.layers):
        at = f"model.layers.{layer}"
        y = net.rms_norm(x, f"{at}.input_layernorm", plus_one=True)
        y = self_attention(net, y, layer, rope, scale=scale, window=config.window_of(layer))
        x = net.add(x, net.rms_norm(y, f"{at}.post_attention_layernorm", plus_one=True))
        y = net.rms_norm(x, f"{at}.pre_feedforward_layernorm", plus_one=True)
        y = mlp(net, y, f"{at}.mlp")
        x = net.add(x, net.rms_norm(y, f"{at}.post_feedforward_layernorm", plus_one=True))
    logits = net.head(net.rms_norm(x, "model.norm", plus_one=True))
    cap = config.number("final_logit_softcapping", 0.0)
    return net.soft_cap(logits, cap) if cap else logits
