"""Which engine serves a container that was written for vLLM. Pure.

    1. the one that the Pod's annotation names
    2. a vLLM that is installed here, where the Pod asks for an accelerator
    3. motorpool-llm, where it knows the checkpoint
    4. a vLLM that is installed here
    5. none: the container waits, and is told why

A ServingRuntime says it for all of its Pods by the same annotation under ``spec.annotations``.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motorpool.api.meta import Object, at
from motorpool.node.localimages import LocalImage

ANNOTATION = "motorpool.dev/llm-engine"
OURS, VLLM = "motorpool-llm", "vllm"
INSTALL = {OURS: "pip install 'motorpool[llm]'", VLLM: "pip install vllm"}
MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.cli.main")
_PYTHON = re.compile(r"^(.*/)?python[0-9.]*$")
_SHELL = re.compile(r"^(.*/)?(ba|da|z)?sh$")
_FOR_SHELLS = re.compile(r"[;&|<>`\n*?~]|\$[^(]|\$\(\(")


class NotVllm(Exception):
    """A command that is not known to start vLLM."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a checkpoint; *problem* is why nothing is."""

    architecture: str = ""
    quantization: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    entry: LocalImage | None
    """None: the container waits."""
    reason: str


def choose(
    entries: Sequence[LocalImage], pod: Object, model: Model, importable: Callable[[str], bool]
) -> Choice:
    """*entries* are those of the local images table that match the container's image."""
    engines = {entry.engine: entry for entry in reversed(entries) if entry.engine}
    usable = {name: e for name, e in engines.items() if not e.requires or importable(e.requires)}
    if wanted := at(pod, "metadata", "annotations", ANNOTATION):
        return _wanted(str(wanted), engines, usable)
    ours = _unfit(model, engines[OURS]) if OURS in usable else _absent(OURS)
    if VLLM in usable:
        if accelerator := accelerator_of(pod):
            return Choice(usable[VLLM], f"{VLLM} serves it: the Pod asks for {accelerator}")
        if ours:
            return Choice(usable[VLLM], f"{VLLM} serves it: {ours}")
    if ours:
        return Choice(None, f"No engine serves it here: {ours}; {_absent(VLLM)}")
    return Choice(usable[OURS], f"{OURS} serves it: it knows {model.architecture}{_how(pod)}")


def accelerator_of(pod: Object) -> str:
    """The resource by which a Pod asks for one; "" where none does."""
    for container in at(pod, "spec", "containers", default=None) or ():
        for side in ("limits", "requests"):
            for name, amount in (at(container, "resources", side, default=None) or {}).items():
                if "/" in name and str(amount) != "0":
                    return str(name)
    return ""


def model_of(config: Object) -> Model:
    """Of a checkpoint's config.json."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    method = at(config, "quantization_config", "quant_method", default="")
    return Model(name, str(method), "" if name else "its config.json names no architecture")


def arguments(command: Sequence[str], args: Sequence[str]) -> list[str]:
    """vLLM's own arguments out of the ways to start it. Raises NotVllm."""
    words = [*command, *args]
    if len(words) >= 3 and _SHELL.match(words[0]) and words[1] in ("-c", "-ec", "-lc"):
        words = _plain_words(words[2])
    if not command or not words:
        return words[1:] if words[:1] == ["serve"] else words
    if _PYTHON.match(words[0]) and words[1:2] == ["-m"] and words[2:3] != [] and (
        words[2] in MODULES
    ):  # fmt: skip
        words = words[3:]
    elif words[0].rpartition("/")[2] == "vllm":
        words = words[1:]
    else:
        raise NotVllm(f"the command {shlex.join(words[:3])!r} is not known to start vLLM")
    return words[1:] if words[:1] == ["serve"] else words


def path_of(args: Sequence[str]) -> str:
    """The checkpoint that they name; "" where they name none."""
    for number, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name == "--model":
            return value if equals else (args[number + 1] if number + 1 < len(args) else "")
    return args[0] if args and not args[0].startswith("-") else ""


def _wanted(name: str, engines: dict[str, LocalImage], usable: dict[str, LocalImage]) -> Choice:
    if name not in engines:
        known = ", ".join(sorted(engines))
        return Choice(None, f"Annotation {ANNOTATION} names {name}; engines are {known}")
    if name not in usable:
        return Choice(None, f"Annotation {ANNOTATION} names {name}: {_absent(name)}")
    return Choice(usable[name], f"{name} serves it: annotation {ANNOTATION} says so")


def _unfit(model: Model, entry: LocalImage) -> str:
    """Why motorpool-llm does not serve it; "" where it does."""
    if model.problem:
        return f"{OURS} does not know the model: {model.problem}"
    if model.architecture not in entry.architectures:
        return f"{OURS} does not know the architecture {model.architecture}"
    if model.quantization and model.quantization not in entry.quantizations:
        return f"{OURS} does not know weights quantised with {model.quantization}"
    return ""


def _absent(name: str) -> str:
    return f"{name} is not installed ({INSTALL[name]})"


def _how(pod: Object) -> str:
    accelerator = accelerator_of(pod)
    return f", on the CPU, for want of a {VLLM} that would use {accelerator}" if accelerator else ""


def _plain_words(text: str) -> list[str]:
    """Of a shell's command line that needs no shell. Raises NotVllm."""
    line = text.replace("\\\n", " ").strip()
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise NotVllm(f"the shell's command cannot be read: {error}") from None
    if _FOR_SHELLS.search(line):
        raise NotVllm("the shell's command does more than to start vLLM")
    return words[1:] if words[:1] == ["exec"] else words
