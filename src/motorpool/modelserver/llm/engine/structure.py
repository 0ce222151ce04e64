"""Answers that match a schema, an expression or a grammar.

The engine compiles a structure in the first step that samples for it, and a step that fails there
leaves every sequence of the pipeline unusable. So each structure is tried first on a model of one
small layer with the same vocabulary (`Structures.check`); what fails there has cost a tenth of a
second and no one's answer. What has been tried once is remembered.

The engine matches grammars against the bytes of tokens, and reads those from a graph that would
turn tokens into text. That graph is made here from the vocabulary, with the one operation that
holds it; no text ever goes through it.
"""

import contextlib
import json
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from motorpool.modelserver.llm.contract import Structure
from motorpool.modelserver.llm.engine.sampling import Unusable

TEXT_MAX = 128 * 1024  # of a structure: compiling holds up everyone's step
NESTING_MAX = 100
REMEMBERED = 1024
LIBRARY_VARIABLE = "OPENVINO_TOKENIZERS_PATH_GENAI"
DETOKENIZER = "openvino_detokenizer.xml"  # the name that the engine looks for
PROBE_HIDDEN = 64

# What the engine would pass over in silence: an answer that ignores it would look as if it matched.
IGNORED_BY_ENGINE = frozenset(
    {"multipleOf", "uniqueItems", "contains", "minContains", "maxContains", "dependentRequired",
     "dependentSchemas", "if", "then", "else", "not"}
)  # fmt: skip


def structured_output(structure: Structure) -> Any:
    """The engine's StructuredOutputConfig. Raises Unusable."""
    import openvino_genai

    kind, text = _engine_terms(structure)
    return openvino_genai.StructuredOutputConfig(**{kind: text})


def _engine_terms(structure: Structure) -> tuple[str, str]:
    size = len(structure.text) + sum(map(len, structure.choices))
    if size > TEXT_MAX:
        raise Unusable(f"the structure is {size} characters long; {TEXT_MAX} at most are taken")
    match structure.kind:
        case "json":
            return "json_schema", _schema(structure.text)
        case "json_object":
            return "json_schema", '{"type": "object"}'
        case "regex" | "grammar":
            _check_nesting(structure.text)
            return structure.kind, structure.text
        case "choice":
            return "grammar", choice_grammar(structure.choices)


def _check_nesting(text: str) -> None:
    """The engine follows parentheses on its stack, which is where very many of them end it."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > NESTING_MAX:
        raise Unusable(f"the structure is nested {deepest} deep; {NESTING_MAX} at most are taken")


def choice_grammar(choices: Sequence[str]) -> str:
    if not choices or not all(choices):
        raise Unusable("a choice needs texts to choose from, none of them empty")
    return "root ::= " + " | ".join(_quoted(choice) for choice in choices)


def _quoted(text: str) -> str:
    """A JSON string is one of a grammar too; what is not ASCII stands as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\\/", "/")


def _schema(text: str) -> str:
    """A JSON schema as the engine understands it. Raises Unusable."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"the JSON schema is not JSON: {error}") from error
    if not isinstance(schema, dict | bool):
        raise Unusable("a JSON schema must be an object")
    parts = list(_parts(schema))
    if ignored := sorted({name for part in parts for name in part} & IGNORED_BY_ENGINE):
        raise Unusable(f"the JSON schema uses what is not supported: {', '.join(ignored)}")
    if any(len(part["allOf"]) > 1 for part in parts if isinstance(part.get("allOf"), list)):
        raise Unusable("the JSON schema uses what is not supported: allOf of several schemas")
    for part in parts:
        _bound_string(part)
    return json.dumps(schema)


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in a place where schemas stand. Raises Unusable."""
    pending = [(0, schema)]
    while pending:
        depth, each = pending.pop()
        if depth > NESTING_MAX:
            raise Unusable(f"the JSON schema is nested more than {NESTING_MAX} deep")
        if isinstance(each, list):
            pending += [(depth + 1, item) for item in each]
        elif isinstance(each, dict):
            yield each
            for name, value in each.items():
                if name in ("properties", "$defs", "definitions", "patternProperties"):
                    inner = value.values() if isinstance(value, dict) else ()
                    pending += [(depth + 1, item) for item in inner]
                elif name not in ("enum", "const", "default", "examples", "example"):
                    pending.append((depth + 1, value))


def _bound_string(part: dict[str, Any]) -> None:
    """Strings of bounded length may have control characters in this engine; a pattern has none."""
    bounded = "maxLength" in part or "minLength" in part
    if part.get("type") == "string" and bounded and not {"pattern", "format"} & part.keys():
        least, most = part.pop("minLength", 0), part.pop("maxLength", "")
        part["pattern"] = f'^[^"\\\\\\x00-\\x1f]{{{least},{most}}}$'


def without_impossible(vocabulary: Sequence[bytes]) -> list[bytes]:
    """Without the tokens that belong in no structure, though the engine would let them in.

    Strings of JSON have no bare control characters, and text has no byte that is none of UTF-8's.
    """
    return [b"" if _IMPOSSIBLE.intersection(token) else token for token in vocabulary]


_IMPOSSIBLE = frozenset({*range(0x20), 0xC0, 0xC1, *range(0xF5, 0x100)} - {*b"\t\n\r"})


def write_detokenizer(directory: Path, vocabulary: Sequence[bytes], eos: int) -> None:
    """Into *directory*, with the little that the engine reads beside it."""
    import numpy as np
    import openvino
    from openvino import opset15

    sizes = np.fromiter(map(len, vocabulary), np.int32, len(vocabulary))
    ends = np.cumsum(sizes, dtype=np.int32)
    characters = np.frombuffer(b"".join(vocabulary), np.uint8)
    tokens = opset15.parameter([-1, -1], np.int64, name="token_ids")
    # The tokens to leave out; the engine replaces this slice by one that it can switch.
    skipped = opset15.slice(
        *(opset15.constant(np.array([n], np.int32)) for n in (0, 0, 2**31 - 1, 1))
    )
    create = _factories()
    decoded = create(
        "VocabDecoder",
        [
            opset15.convert(tokens, "i32").output(0),
            *(opset15.constant(each).output(0) for each in (ends - sizes, ends, characters)),
            skipped.output(0),
        ],
    )
    *pieces, text = decoded.outputs()
    joined = [*create("FuzeRagged", pieces).outputs(), text]
    packed = create("StringTensorPack", joined)
    packed.output(0).tensor.set_names({"string_output"})
    model = openvino.Model([packed.output(0)], [tokens], "detokenizer")
    openvino.save_model(model, directory / DETOKENIZER, compress_to_fp16=False)
    (directory / "config.json").write_text(json.dumps({"eos_token_id": eos}))


_kept: list[Any] = []  # nodes point into the factories that made them


def _factories() -> Callable[[str, list[Any]], Any]:
    from openvino.utils.node_factory import NodeFactory

    own, standard = NodeFactory(), NodeFactory("opset15")
    own.add_extension(library())
    _kept.extend((own, standard))
    return lambda name, inputs: (standard if name == "StringTensorPack" else own).create(
        name, inputs
    )


def library() -> str:
    """The operations that hold a vocabulary."""
    spec = find_spec("openvino_tokenizers")
    if spec is None or spec.origin is None:
        raise ImportError("openvino_tokenizers is not installed")
    return str(Path(spec.origin).parent / "lib" / "libopenvino_tokenizers.so")


def tokenizer(directory: Path) -> Any:
    """The engine's Tokenizer with what `write_detokenizer` wrote there."""
    import openvino_genai

    os.environ[LIBRARY_VARIABLE] = library()
    return openvino_genai.Tokenizer(directory)


class Structures:
    """What may be asked of the pipeline. *probe* makes another pipeline of the same vocabulary."""

    def __init__(self, probe: Callable[[], Any]) -> None:
        self._make_probe = probe
        self._probe: Any = None
        self._seen: OrderedDict[tuple[str, str], str] = OrderedDict()

    def check(self, structure: Structure) -> None:
        """Raises Unusable where the engine cannot compile it."""
        terms = _engine_terms(structure)
        if terms not in self._seen:
            self._seen[terms] = self._tried(structure)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        self._seen.move_to_end(terms)
        if message := self._seen[terms]:
            raise Unusable(message)

    def _tried(self, structure: Structure) -> str:
        import numpy as np
        import openvino
        import openvino_genai

        if self._probe is None:
            self._probe = self._make_probe()
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = 1
        config.structured_output_config = structured_output(structure)
        try:
            handle = self._probe.add_request(0, openvino.Tensor(np.zeros((1, 1), np.int64)), config)
            while self._probe.has_non_finished_requests():
                self._probe.step()
            handle.read_all()
        except RuntimeError as error:
            with _silence():
                handle = self._probe = None  # nothing more can be had of it, and it would say so
            return f"the {structure.kind} cannot be used: {_own_words(str(error))}"
        return ""


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Native code writes to the descriptor itself."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _own_words(text: str) -> str:
    """Without the places in the engine's source."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), text)
    return line.rpartition(".cc:")[2].partition(": ")[2] or line.strip()


def write_probe(directory: Path, vocabulary_size: int) -> None:
    """A checkpoint of one small layer and zeros, with that many tokens."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1,
        "hidden_size": PROBE_HIDDEN, "num_attention_heads": 1, "num_key_value_heads": 1,
        "head_dim": PROBE_HIDDEN, "intermediate_size": PROBE_HIDDEN, "hidden_act": "silu",
        "vocab_size": vocabulary_size, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 64, "torch_dtype": "bfloat16", "rope_theta": 10000.0,
    }  # fmt: skip
    square, layer = (PROBE_HIDDEN, PROBE_HIDDEN), "model.layers.0."
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary_size, PROBE_HIDDEN),
        "model.norm.weight": (PROBE_HIDDEN,),
        layer + "input_layernorm.weight": (PROBE_HIDDEN,),
        layer + "post_attention_layernorm.weight": (PROBE_HIDDEN,),
    }
    shapes |= {f"{layer}self_attn.{name}_proj.weight": square for name in "qkvo"}
    shapes |= {f"{layer}mlp.{name}_proj.weight": square for name in ("gate", "up", "down")}
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * PROBE_HIDDEN * (shape[0] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    (directory / "config.json").write_text(json.dumps(config))
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
