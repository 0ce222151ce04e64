"""A `graph.pbtxt` of OpenVINO Model Server's -> the command line that asks for the same. Pure, but
for finding the file.

Its pull writes one beside a model, and serves the directory by it without `--task`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from motorpool.modelserver.flags import UsageError, is_generative
from motorpool.modelserver.graphs import FILE, graph_directory

TASKS = {
    "HttpLLMCalculator": "text_generation",
    "EmbeddingsCalculatorOV": "embeddings",
    "RerankCalculatorOV": "rerank",
}
FLAGS = (
    "max_num_seqs", "max_num_batched_tokens", "cache_size", "enable_prefix_caching", "tool_parser",
    "reasoning_parser", "max_allowed_chunks",
)  # fmt: skip
_FIELD = re.compile(r"""([A-Za-z_]\w*)\s*:\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s{}"';,]+)""")
_ESCAPE = re.compile(r"\\(.)")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


def with_graph(argv: Sequence[str]) -> Sequence[str]:
    """*argv*, where its model has a graph with what that says before it. Raises UsageError."""
    directory = None if is_generative(argv) else graph_directory(argv)
    if directory is None:
        return argv
    try:
        text = (directory / FILE).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{directory / FILE} cannot be read: {error}") from None
    words, models = words_of(text, directory)
    # Of a flag that comes twice the last one counts.
    return [*words, *argv, f"--model_path={models}"]


def words_of(text: str, directory: Path) -> tuple[list[str], Path]:
    """The flags, and the directory of the model. Raises UsageError."""
    fields = {
        name: _ESCAPE.sub(r"\1", value[1:-1]) if value[0] in "\"'" else value
        for name, value in _FIELD.findall(_COMMENT.sub("", text))
    }
    calculator = fields.get("calculator", "")
    if calculator not in TASKS:
        raise UsageError(
            f"{directory / FILE}: the calculator {calculator!r} is not served, "
            f"served are {', '.join(TASKS)}"
        )
    words = [f"--task={TASKS[calculator]}"]
    words += [f"--{name}={fields[name]}" for name in FLAGS if name in fields]
    words += _of_plugin(fields, directory)
    models = Path(fields.get("models_path", "./"))
    return words, models if models.is_absolute() else directory / models


def _of_plugin(fields: Mapping[str, str], directory: Path) -> list[str]:
    try:
        properties = json.loads(fields.get("plugin_config") or "{}")
    except ValueError as error:
        raise UsageError(f"{directory / FILE}: plugin_config is no JSON: {error}") from None
    precision = properties.get("KV_CACHE_PRECISION") if isinstance(properties, dict) else None
    return [f"--kv_cache_precision={precision}"] if precision else []
