"""A cross-encoder: it reads two texts at once, and one number says how well they match.

Where a type of token tells the second text from the first (BERT), the separator between them does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from motorpool.modelserver.llm.checkpoint.config import Config
from motorpool.modelserver.llm.checkpoint.files import read_json
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network
from motorpool.modelserver.llm.contract import CheckpointError

CROSS_ENCODERS = frozenset(
    f"{name}ForSequenceClassification" for name in ("Bert", "Roberta", "XLMRoberta")
)

_ACTIVATIONS: dict[str, Literal["sigmoid", "none"]] = {"Sigmoid": "sigmoid", "Identity": "none"}


@dataclass(frozen=True, slots=True)
class Scoring:
    activation: Literal["sigmoid", "none"]
    separator: int | None  # token; None where both texts are of one type


def read_scoring(checkpoint: Path, config: Config) -> Scoring | None:
    """None for a checkpoint that is no cross-encoder. Raises CheckpointError."""
    if config.architecture not in CROSS_ENCODERS:
        return None
    labels = config.raw.get("id2label")
    count = len(labels) if isinstance(labels, dict) else int(config.number("num_labels", 2))
    if count != 1:
        raise CheckpointError(
            f"config.json: {config.architecture} with {count} labels; those with one are served, "
            "which says how well two texts match"
        )
    separator = None
    if config.number("type_vocab_size", 1) > 1:
        separator = _separator(checkpoint)
    return Scoring(_activation(config.raw), separator)


def _activation(raw: Any) -> Literal["sigmoid", "none"]:
    """As sentence-transformers keeps it, in one of its two ways."""
    beside = raw.get("sentence_transformers")
    named = beside.get("activation_fn") if isinstance(beside, dict) else None
    named = named or raw.get("sbert_ce_default_activation_function") or "Sigmoid"
    found = _ACTIVATIONS.get(str(named).rpartition(".")[2])
    if found is None:
        raise CheckpointError(
            f"config.json: the activation {named!r} of a score is not known, "
            f"known are {', '.join(_ACTIVATIONS)}"
        )
    return found


def _separator(checkpoint: Path) -> int:
    about = checkpoint / "tokenizer_config.json"
    named = (read_json(about) if about.is_file() else {}).get("sep_token", "[SEP]")
    text = named.get("content") if isinstance(named, dict) else named
    added = read_json(checkpoint / "tokenizer.json").get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if token.get("content") == text and isinstance(token.get("id"), int):
            return int(token["id"])
    raise CheckpointError(f"tokenizer.json has no token {text!r}, which stands between two texts")


def score(net: Network, states: Value, scoring: Scoring) -> Value:
    """From [pairs, tokens, width] to [pairs, 1]: the first token is asked."""
    graph = net.graph
    first = graph.op("Gather", states, graph.ints(0), graph.ints(1), version="opset8", batch_dims=0)
    is_bert = net.config.architecture.startswith("Bert")
    dense, head = ("pooler.dense", "classifier") if is_bert else _ROBERTAS
    found = net.linear(graph.op("Tanh", net.linear(first, dense)), head, head=True)
    return graph.op("Sigmoid", found) if scoring.activation == "sigmoid" else found


_ROBERTAS = ("classifier.dense", "classifier.out_proj")


def kinds(net: Network, separator: int) -> Value:
    """0 for each token of the first text, its separator included, and 1 for those behind it."""
    graph = net.graph
    here = graph.op("Equal", net.input_ids, graph.ints(separator), auto_broadcast="numpy")
    number = graph.op("Convert", here, destination_type="i64")
    axis = graph.constant(np.array(1, np.int64))
    seen = graph.op("CumSum", number, axis, version="opset3", exclusive=True, reverse=False)
    return graph.op("Minimum", seen, graph.ints(1), auto_broadcast="numpy")
