"""A GGUF file's tokenizer, as the files that Hugging Face keeps of one.

Those of bytes and merges only (GPT-2's kind: Llama 3, Qwen), whose texts are cut into words in a
way that the file names.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motorpool.modelserver.llm.checkpoint.gguf import read_gguf
from motorpool.modelserver.llm.contract import CheckpointError

CONTROL, USER_DEFINED = 3, 4  # of token types

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How a text is cut before merges; the empty one is GPT-2's own.
_CUTS = {
    "llama-bpe": _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST,
    "qwen2": _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST,
    "gpt-2": "",
    "default": "",
}
_CUTS |= {"llama3": _CUTS["llama-bpe"], "llama-v3": _CUTS["llama-bpe"]}
_SPECIAL = {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"}

_WAY_OUT = "put the model's tokenizer.json beside the file, or name its directory with --tokenizer"


def tokenizer_json(path: Path) -> bytes:
    """Of a directory, or of a .gguf file: beside it or in it. Raises CheckpointError, OSError."""
    directory = path if path.is_dir() else path.parent
    file = directory / "tokenizer.json"
    if path.suffix == ".gguf" and not file.is_file():
        return json.dumps(_tokenizer(read_gguf(path).metadata)).encode()
    return file.read_bytes()


@contextmanager
def tokenizer_files(path: Path) -> Iterator[Path]:
    """A directory with tokenizer.json and tokenizer_config.json. Raises CheckpointError."""
    metadata = read_gguf(path).metadata
    with tempfile.TemporaryDirectory(prefix="motorpool-tokenizer-") as name:
        directory = Path(name)
        (directory / "tokenizer.json").write_text(json.dumps(_tokenizer(metadata)))
        (directory / "tokenizer_config.json").write_text(json.dumps(_about(metadata)))
        yield directory


def _tokenizer(metadata: Mapping[str, Any]) -> dict[str, Any]:
    kind, cut = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or cut not in _CUTS:
        raise CheckpointError(
            f"the GGUF file's tokenizer is of the kind {kind!r} with words cut as {cut!r}, which "
            f"this engine does not read; {_WAY_OUT}"
        )
    tokens = _texts(metadata, "tokens")
    types = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    added = [
        {
            "id": number,
            "content": token,
            "special": type_ == CONTROL,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for number, (token, type_) in enumerate(zip(tokens, types, strict=False))
        if type_ in (CONTROL, USER_DEFINED)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if cut == "qwen2" else None,
        "pre_tokenizer": _words(_CUTS[cut]),
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": cut in ("llama-bpe", "llama3", "llama-v3"),
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": _texts(metadata, "merges"),
        },
    }


def _words(cut: str) -> dict[str, Any]:
    to_bytes = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": not cut,
    }
    if not cut:
        return to_bytes
    split = {
        "type": "Split",
        "pattern": {"Regex": cut},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, to_bytes]}


def _about(metadata: Mapping[str, Any]) -> dict[str, Any]:
    tokens = _texts(metadata, "tokens")
    about: dict[str, Any] = {"add_bos_token": bool(metadata.get("tokenizer.ggml.add_bos_token"))}
    for theirs, ours in _SPECIAL.items():
        number = metadata.get(f"tokenizer.ggml.{theirs}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            about[ours] = tokens[number]
    template = metadata.get("tokenizer.chat_template")
    if isinstance(template, str):
        about["chat_template"] = template
    return about


def _texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    values = metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise CheckpointError(f"the GGUF file has no tokenizer.ggml.{name}; {_WAY_OUT}")
    return values
