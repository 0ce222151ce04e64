"""A checkpoint's tokenizer and the words of its chat template, read from Hugging Face's files."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from motorpool.modelserver.llm.api.text import Decode
from motorpool.modelserver.llm.contract import CheckpointError

FILE_BYTES_MAX = 256 * 2**20
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")


class Tokenizer:
    """The Rust tokenizer with what tokenizer_config.json says beside it."""

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError."""
        directory = path if path.is_dir() else path.parent
        if path.suffix == ".gguf" and not (directory / "tokenizer.json").is_file():
            # Imported here: it brings numpy, which nothing else in this process needs.
            from motorpool.modelserver.llm.checkpoint.vocabulary import tokenizer_files

            with tokenizer_files(path) as made:
                self._read(made)
        else:
            self._read(directory)

    def _read(self, directory: Path) -> None:
        self._fast = _fast(directory)
        self.config = read_json(directory / "tokenizer_config.json")
        self.special_tokens = _special_tokens(self.config, directory)
        self.vocab_size: int = self._fast.get_vocab_size()
        self.templates = _templates(self.config, directory)
        self._bos = _forced_bos(self._fast, self.config, self.special_tokens)
        self._special_ids = frozenset(
            number
            for number, token in self._fast.get_added_tokens_decoder().items()
            if token.special
        )

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids: list[int] = self._fast.encode(text, add_special_tokens=add_special_tokens).ids
        if add_special_tokens and self._bos is not None and ids[:1] != [self._bos]:
            ids.insert(0, self._bos)
        return ids

    def encode_pair(self, first: str, second: str, most: int | None) -> list[int]:
        """Two texts as a model is trained to compare them; of *second* what fits *most* tokens."""
        return self.encode_pairs(first, second, most)[0]

    def encode_pairs(self, first: str, second: str, most: int | None) -> list[list[int]]:
        """*first* with one after the other of the parts of *second* that fit *most* tokens."""
        one, two = (self._fast.encode(text, add_special_tokens=False) for text in (first, second))

        def joined(part: Any) -> list[int]:
            ids: list[int] = self._fast.post_process(one, part, add_special_tokens=True).ids
            return ids

        whole = joined(two)
        if most is None or len(whole) <= most:
            return [whole]
        two.truncate(max(0, len(two.ids) - (len(whole) - most)))
        return [joined(part) for part in (two, *two.overflowing)]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        text: str = self._fast.decode(ids, skip_special_tokens=skip_special_tokens)
        return text

    def decoder(self, *, skip_special_tokens: bool) -> Decode:
        return partial(self._fast.decode, skip_special_tokens=skip_special_tokens)

    def token(self, number: int) -> str:
        """As it stands in the vocabulary; empty for a number that it does not have."""
        return self._fast.id_to_token(number) or ""

    def token_text(self, number: int) -> str:
        """One token as text: a space that it begins with is kept."""
        token = self.token(number)
        if number in self._special_ids:
            return token
        text: str = self._fast.decode([number], skip_special_tokens=False)
        return f" {text}" if token.startswith("▁") and not text.startswith(" ") else text

    def token_id(self, token: str) -> int | None:
        number: int | None = self._fast.token_to_id(token)
        return number


def read_json(path: Path) -> dict[str, Any]:
    """An empty object where there is no such file. Raises CheckpointError."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CheckpointError(f"{path.name}: larger than {FILE_BYTES_MAX} bytes")
        read = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    if not isinstance(read, dict):
        raise CheckpointError(f"{path.name}: should be a JSON object")
    return read


def _fast(directory: Path) -> Any:
    from tokenizers import Tokenizer as Fast

    file = directory / "tokenizer.json"
    if not file.is_file():
        raise CheckpointError(
            f"there is no tokenizer.json in {directory}; "
            "add it to the model, or name a directory that has one with --tokenizer"
        )
    try:
        fast = Fast.from_file(str(file))
    except Exception as error:  # The library raises nothing narrower.
        with file.open("rb") as opened:
            if opened.read(8) == b"version ":
                raise CheckpointError(
                    f"{file} is what Git keeps in the place of a large file: "
                    "`git lfs pull` fetches the file itself"
                ) from None
        raise CheckpointError(f"{file}: {error}; is it whole?") from error
    # Files of the training time may say that prompts are cut or padded.
    fast.no_truncation()
    fast.no_padding()
    return fast


def _special_tokens(config: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """By name, as chat templates read them."""
    beside = read_json(directory / "special_tokens_map.json")
    given = {name: config.get(name) or beside.get(name) for name in SPECIAL_TOKENS}
    texts = {
        name: each.get("content") if isinstance(each, dict) else each
        for name, each in given.items()
    }
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _templates(config: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """Chat templates by name; the usual one is named ``default``."""
    file = directory / "chat_template.jinja"
    found: dict[str, str] = {}
    given = config.get("chat_template")
    if isinstance(given, str):
        found["default"] = given
    elif isinstance(given, list):
        named = [each for each in given if isinstance(each, dict)]
        found = {str(each.get("name")): str(each.get("template")) for each in named}
    try:
        if file.is_file():
            found["default"] = file.read_text()
        for more in sorted((directory / "additional_chat_templates").glob("*.jinja")):
            found[more.stem] = more.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{directory.name}: chat template: {error}") from error
    return found


def _forced_bos(fast: Any, config: Mapping[str, Any], special: Mapping[str, str]) -> int | None:
    """The token that every text begins with where tokenizer.json forgot what the config says."""
    if config.get("add_bos_token") is not True or "bos_token" not in special:
        return None
    number: int | None = fast.token_to_id(special["bos_token"])
    return number
