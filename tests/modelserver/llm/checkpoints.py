"""Tiny checkpoints with random weights, in the files that Hugging Face keeps of a model.

They answer nonsense, but always the same nonsense, and load in milliseconds.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [
    "A motor pool keeps a fleet of cars that are ready to go, and hands out their keys.",
    "The quick brown fox jumps over the lazy dog; 0123456789 times, it is said.",
    '{"name": "weather", "arguments": {"city": "Boston", "unit": "celsius"}}',
]

DEFAULTS: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "initializer_range": 0.02,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "mistral": {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "head_dim": 24,  # of which there are not hidden_size / heads: as Mistral Nemo and Small
        "sliding_window": None,
    },
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "use_sliding_window": False,
        "sliding_window": 16,
        "max_window_layers": 1,
        "tie_word_embeddings": True,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": 32,
        "attention_bias": False,
    },
    "granite": {
        "architectures": ["GraniteForCausalLM"],
        "model_type": "granite",
        "attention_multiplier": 0.11,
        "embedding_multiplier": 3.0,
        "logits_scaling": 4.0,
        "residual_multiplier": 0.4,
        "tie_word_embeddings": True,
    },
    "phi3": {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "original_max_position_embeddings": 512,
        "sliding_window": None,
        "pad_token_id": 0,
    },
    "gemma2": {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "head_dim": 32,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": 5.0,
        "sliding_window": 16,
        "tie_word_embeddings": True,
    },
    "mixtral": {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": None,
        "output_router_logits": False,
    },
    "bert": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
        "pad_token_id": 0,
    },
    "xlm-roberta": {
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "max_position_embeddings": 514,
    },
}


def make_checkpoint(
    directory: Path,
    family: str = "llama",
    *,
    dtype: str = "bf16",
    seed: int = 1,
    shards: int = 1,
    **config: Any,
) -> Path:
    """Writes config.json, weights, a tokenizer of bytes and merges, and how generation ends.

    *config* are fields of config.json; *dtype* is one of bf16, f16, f32. The embedding always has
    room for the tokenizer's tokens.
    """
    directory.mkdir(parents=True, exist_ok=True)
    settings = {**DEFAULTS, **FAMILIES[family], **config}
    tokenizer_size = make_tokenizer(directory)
    if settings["vocab_size"] < tokenizer_size:
        raise ValueError(f"vocab_size has to be at least {tokenizer_size}")
    names = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
    settings["torch_dtype"] = names[dtype]
    (directory / "config.json").write_text(json.dumps(settings, indent=1))
    ends = {"bos_token_id": 0, "eos_token_id": [0, 2]}
    (directory / "generation_config.json").write_text(json.dumps(ends))
    tensors = random_tensors(settings, np.random.default_rng(seed))
    write_sharded(directory, tensors, dtype, shards)
    return directory


def random_tensors(config: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Array]:
    """With weights large enough for the greedy choice to be clear."""
    shapes = model_shapes(config)
    tensors = {name: _values(name, shape, rng) for name, shape in shapes.items()}
    if config["tie_word_embeddings"]:
        # Else every token's likeliest successor is itself.
        tensors["model.embed_tokens.weight"] *= np.float32(0.1)
    return tensors


def model_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden = config["hidden_size"]
    if "type_vocab_size" in config:
        return encoder_shapes(config)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        parts = attention_shapes(config) | norm_shapes(config) | mlp_shapes(config)
        shapes |= {f"{at}.{name}": shape for name, shape in parts.items()}
    return shapes


def encoder_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    at = "embeddings"
    shapes: dict[str, tuple[int, ...]] = {
        f"{at}.word_embeddings.weight": (config["vocab_size"], hidden),
        f"{at}.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        f"{at}.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    norms = [f"{at}.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
        parts = [f"attention.self.{name}" for name in ("query", "key", "value")]
        linears = dict.fromkeys([*parts, "attention.output.dense"], (hidden, hidden))
        linears |= {"intermediate.dense": (wide, hidden), "output.dense": (hidden, wide)}
        for name, shape in linears.items():
            shapes |= {f"{at}.{name}.weight": shape, f"{at}.{name}.bias": shape[:1]}
    labels = len(config.get("id2label") or ())
    if labels:
        dense, head = "classifier.dense", "classifier.out_proj"
        if config["model_type"] == "bert":
            dense, head = "pooler.dense", "classifier"
        for name, rows in ((dense, hidden), (head, labels)):
            shapes |= {f"{name}.weight": (rows, hidden), f"{name}.bias": (rows,)}
    for name in norms:
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    return shapes


def make_pooling(directory: Path, mode: str, *, normalize: bool = True) -> None:
    """What sentence-transformers keeps beside a model; *mode* as in pooling_mode_MODE."""
    names = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [
        {"idx": number, "path": f"{number}_{name}" if number else "", "type": f"st.models.{name}"}
        for number, name in enumerate(names)
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    modes = ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
    settings = {f"pooling_mode_{name}": name == mode for name in modes}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(settings))


def norm_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    names = ["input_layernorm", "post_attention_layernorm"]
    if config["model_type"] == "gemma2":
        names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    return {f"{name}.weight": (config["hidden_size"],) for name in names}


def attention_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    model, hidden = config["model_type"], config["hidden_size"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    width = config.get("head_dim") or hidden // heads
    at = "self_attn"
    shapes: dict[str, tuple[int, ...]] = {f"{at}.o_proj.weight": (hidden, heads * width)}
    if model == "phi3":
        return shapes | {f"{at}.qkv_proj.weight": ((heads + 2 * kv) * width, hidden)}
    for name, count in (("q", heads), ("k", kv), ("v", kv)):
        shapes[f"{at}.{name}_proj.weight"] = (count * width, hidden)
        if model == "qwen2" or config.get("attention_bias"):
            shapes[f"{at}.{name}_proj.bias"] = (count * width,)
    if config.get("attention_bias"):
        shapes[f"{at}.o_proj.bias"] = (hidden,)
    if model == "qwen3":
        shapes |= {f"{at}.q_norm.weight": (width,), f"{at}.k_norm.weight": (width,)}
    return shapes


def mlp_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    model, hidden, wide = config["model_type"], config["hidden_size"], config["intermediate_size"]
    if model == "phi3":
        return {
            "mlp.gate_up_proj.weight": (2 * wide, hidden),
            "mlp.down_proj.weight": (hidden, wide),
        }
    up, down = (wide, hidden), (hidden, wide)
    if model == "mixtral":
        count = config["num_local_experts"]
        at = "block_sparse_moe"
        experts = {
            f"{at}.experts.{number}.{name}.weight": shape
            for number in range(count)
            for name, shape in (("w1", up), ("w2", down), ("w3", up))
        }
        return {f"{at}.gate.weight": (count, hidden), **experts}
    return {f"mlp.{n}_proj.weight": s for n, s in (("gate", up), ("up", up), ("down", down))}


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if name.lower().endswith("norm.weight"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith(".bias"):
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)
    spread = 1.0 if "embed" in name else 1.5 / np.sqrt(shape[-1])
    return (rng.standard_normal(shape) * spread).astype(np.float32)


# The format of the files.


def write_sharded(directory: Path, tensors: Mapping[str, Array], dtype: str, shards: int) -> None:
    if shards == 1:
        write_safetensors(directory / "model.safetensors", tensors, dtype)
        return
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        write_safetensors(directory / file, part, dtype)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def write_safetensors(path: Path, tensors: Mapping[str, Array], dtype: str) -> None:
    """Floats as *dtype*, everything else as it is."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    at = 0
    for name, array in tensors.items():
        kind, data = _encode(array, dtype)
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [at, at + len(data)],
        }
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(parts)


def to_bf16(array: Array) -> Array:
    """The nearest, ties to even, as 16 bits."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _encode(array: Array, dtype: str) -> tuple[str, bytes]:
    if type(array) is not np.ndarray:  # of bytes that stand for something else
        return "F8_E4M3", array.tobytes()
    if array.dtype != np.float32:
        names = {"int8": "I8", "uint8": "U8", "int32": "I32", "int64": "I64", "float16": "F16"}
        return names[array.dtype.name], np.ascontiguousarray(array).tobytes()
    if dtype == "bf16":
        return "BF16", to_bf16(array).tobytes()
    if dtype == "f16":
        return "F16", array.astype(np.float16).tobytes()
    return "F32", np.ascontiguousarray(array).tobytes()


# The tokenizer.


def make_tokenizer(directory: Path) -> int:
    """Bytes with a few merges, as GPT-2 began it; returns how many tokens there are."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(directory / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "model_max_length": 512,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
        "added_tokens_decoder": {
            str(number): {"content": text, "special": True} for number, text in enumerate(SPECIAL)
        },
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(about, indent=1))
    return int(tokenizer.get_vocab_size())
