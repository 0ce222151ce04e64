"""tokenizer.json -> the bytes of every token, which grammars are matched against. Pure.

Two ways of writing bytes as text are in use: GPT-2's, with a printable character for each byte, and
SentencePiece's, with a low line block for a space and <0x0A> for bytes without a token. Tokens that
are marks and no text (the special ones) have no bytes here, and so are never part of a structure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

SPACE = "\u2581"


class _Added(msgspec.Struct):
    id: int
    content: str
    special: bool = False


class _Model(msgspec.Struct):
    vocab: dict[str, int] | list[tuple[str, float]]
    type: str | None = None  # older files leave it out for BPE


class _Part(msgspec.Struct):
    """A decoder or a pre-tokenizer, as far as it is looked at."""

    type: str = ""
    decoders: list["_Part"] = []
    pretokenizers: list["_Part"] = []


class _File(msgspec.Struct):
    model: _Model
    added_tokens: list[_Added] = []
    decoder: _Part | None = None
    pre_tokenizer: _Part | None = None


class NoVocabulary(Exception):
    """The tokens of this file have no bytes that could be told; the message says why."""


_decoder = msgspec.json.Decoder(_File)


def token_bytes(tokenizer_json: bytes, size: int) -> list[bytes]:
    """The bytes of the tokens 0 to *size*. Raises NoVocabulary."""
    try:
        file = _decoder.decode(tokenizer_json)
    except msgspec.MsgspecError as error:
        raise NoVocabulary(f"tokenizer.json: {error}") from error
    if file.model.type not in (None, "BPE", "Unigram"):
        raise NoVocabulary(f"tokenizer.json: a vocabulary of type {file.model.type}")
    tokens = file.model.vocab
    pairs = (
        tokens.items() if isinstance(tokens, dict) else ((t, i) for i, (t, _) in enumerate(tokens))
    )
    text_of = _of_gpt2 if _is_byte_level(file) else _of_sentencepiece
    result = [b""] * size
    for token, number in pairs:
        if number < size:
            result[number] = text_of(token)
    for added in file.added_tokens:
        if added.id < size:
            result[added.id] = b"" if added.special else added.content.encode()
    return result


def _is_byte_level(file: _File) -> bool:
    parts = [part for part in (file.decoder, file.pre_tokenizer) if part]
    while parts:
        part = parts.pop()
        if part.type == "ByteLevel":
            return True
        parts += [*part.decoders, *part.pretokenizers]
    return False


def _of_gpt2(token: str) -> bytes:
    try:
        return token.translate(_BYTES).encode("latin-1")
    except UnicodeEncodeError:  # a token that was added as it is written
        return token.encode()


def _of_sentencepiece(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            pass
    return token.replace(SPACE, " ").encode()


def _gpt2_bytes() -> Mapping[int, int]:
    """Printable Latin-1 characters stand for themselves, the other bytes are 256 and on."""
    printable: Sequence[Any] = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {256 + place: byte for place, byte in enumerate(others)}


_BYTES = _gpt2_bytes()
