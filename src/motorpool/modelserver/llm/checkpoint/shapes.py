"""Whether weights have the shapes that config.json speaks of. Pure.

The engine would find out later, in words of its own graph, or not at all: a token beyond the
embedding's rows is read from beyond the table.
"""

from collections.abc import Callable, Mapping

from motorpool.modelserver.llm.checkpoint.config import Config
from motorpool.modelserver.llm.checkpoint.files import StoredTensor
from motorpool.modelserver.llm.contract import CheckpointError

Expected = Callable[[Config], int]
Side = tuple[str, Expected]

_VOCABULARY: Side = ("vocab_size", lambda c: c.vocab)
_WIDTH: Side = ("hidden_size", lambda c: c.hidden)
_QUERIES: Side = ("num_attention_heads x head_dim", lambda c: c.heads * c.head_dim)
_KEYS: Side = ("num_key_value_heads x head_dim", lambda c: c.kv_heads * c.head_dim)
_MATRICES: dict[str, tuple[Side, Side]] = {
    "embed_tokens.weight": (_VOCABULARY, _WIDTH),
    "word_embeddings.weight": (_VOCABULARY, _WIDTH),
    "lm_head.weight": (_VOCABULARY, _WIDTH),
    "self_attn.q_proj.weight": (_QUERIES, _WIDTH),
    "self_attn.k_proj.weight": (_KEYS, _WIDTH),
    "self_attn.v_proj.weight": (_KEYS, _WIDTH),
    "self_attn.o_proj.weight": (_WIDTH, _QUERIES),
}


def check_shapes(tensors: Mapping[str, StoredTensor], config: Config) -> None:
    """Raises CheckpointError."""
    for name, stored in tensors.items():
        sides = _MATRICES.get(".".join(name.split(".")[-3:])) or _MATRICES.get(
            ".".join(name.split(".")[-2:])
        )
        if sides is None:
            continue
        expected = tuple(value(config) for _, value in sides)
        if stored.shape != expected:
            words = " and ".join(f"{word} of {value(config)}" for word, value in sides)
            raise CheckpointError(
                f"tensor {name!r} of {stored.path.name} is {_text(stored.shape)}, and config.json "
                f"asks for {_text(expected)} ({words}): do the two belong together?"
            )


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
