"""Which engine serves a container that was written for vLLM, and with which arguments."""

import pytest

from motorpool.modelserver.llm.checkpoint import families
from motorpool.node.llmengine import (
    ANNOTATION,
    Model,
    NotVllm,
    arguments,
    choose,
    model_of,
    path_of,
)
from motorpool.node.localimages import MOTORPOOL_LLM, SHIPPED, VLLM, hits

BOTH = {"openvino_genai", "vllm"}
OURS, VLLM_ONLY, NONE = {"openvino_genai"}, {"vllm"}, set()
LLAMA = Model("LlamaForCausalLM")
OTHER = Model("WhisperForConditionalGeneration")
AWQ = Model("LlamaForCausalLM", "awq")


def matching(image, table):
    return [hit.entry for hit in hits(image, table, lambda module: False)]


def pod(limits=None, **annotations):
    container = {"name": "kserve-container", "resources": {"limits": limits or {}}}
    return {"metadata": {"annotations": annotations}, "spec": {"containers": [container]}}


GPU = pod({"nvidia.com/gpu": "1", "cpu": "2"})


@pytest.mark.parametrize(
    ("installed", "asking", "model", "engine", "reason"),
    [
        (BOTH, pod(), LLAMA, "motorpool-llm", "motorpool-llm serves it: it knows LlamaForCausalLM"),
        (OURS, pod(), LLAMA, "motorpool-llm", "it knows LlamaForCausalLM"),
        (VLLM_ONLY, pod(), LLAMA, "vllm", "motorpool-llm is not installed (pip install"),
        (BOTH, GPU, LLAMA, "vllm", "vllm serves it: the Pod asks for nvidia.com/gpu"),
        (OURS, GPU, LLAMA, "motorpool-llm", "for want of a vllm that would use nvidia.com/gpu"),
        (BOTH, pod({"nvidia.com/gpu": "0"}), LLAMA, "motorpool-llm", "it knows"),
        (BOTH, pod(), OTHER, "vllm", "does not know the architecture WhisperFor"),
        (BOTH, pod(), AWQ, "vllm", "does not know weights quantised with awq"),
        (BOTH, pod(), Model("LlamaForCausalLM", "fp8"), "motorpool-llm", "it knows"),
        (BOTH, pod(), Model(problem="gone"), "vllm", "does not know the model: gone"),
        (OURS, pod(), OTHER, None, "vllm is not installed (pip install vllm)"),
        (NONE, pod(), LLAMA, None, "No engine serves it here: motorpool-llm is not installed"),
        (BOTH, pod(**{ANNOTATION: "vllm"}), LLAMA, "vllm", f"annotation {ANNOTATION} says so"),
        (BOTH, pod(**{ANNOTATION: "motorpool-llm"}), OTHER, "motorpool-llm", "says so"),
        (OURS, pod(**{ANNOTATION: "vllm"}), LLAMA, None, "names vllm: vllm is not installed"),
        (BOTH, pod(**{ANNOTATION: "tgi"}), LLAMA, None, "engines are motorpool-llm, vllm"),
    ],
)  # fmt: skip
def test_the_engine_and_the_reason(installed, asking, model, engine, reason):
    entries = matching("vllm-cuda-image", SHIPPED)
    choice = choose(entries, asking, model, installed.__contains__)
    assert (choice.entry.engine if choice.entry else None) == engine
    assert reason in choice.reason


@pytest.mark.parametrize(
    "image",
    [
        "vllm-cuda-image", "vllm-rocm-image", "vllm/vllm-openai:v0.10.1", "quay.io/modh/vllm:rhoai",
        "registry.redhat.io/rhaiis/vllm-cuda-rhel9:3.2", "quay.io/x/odh-vllm-cpu-rhel9@sha256:ab",
    ],
)  # fmt: skip
def test_both_engines_stand_in_for_vllms_images(image):
    assert matching(image, SHIPPED) == [MOTORPOOL_LLM, VLLM]


def test_an_entry_of_the_users_wins_over_a_shipped_one():
    own = VLLM.__class__(match=("*/vllm*",), command=("/opt/vllm",), engine="vllm")
    entries = matching("quay.io/x/vllm:1", [own, *SHIPPED])
    assert choose(entries, GPU, LLAMA, OURS.__contains__).entry is own


def test_the_table_knows_the_architectures_that_the_engine_knows():
    known = {*families.FAMILIES, *families.ENCODERS, *families._WITHOUT_HEAD}
    assert set(MOTORPOOL_LLM.architectures) == known


FLAGS = ["--port=8080", "--model=/mnt/models"]
SERVER = "vllm.entrypoints.openai.api_server"


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        (["python", "-m", SERVER], FLAGS, FLAGS),
        (["/opt/app-root/bin/python3.12", "-m", SERVER, *FLAGS], [], FLAGS),
        (["vllm", "serve"], ["/mnt/models", "--port=8080"], ["/mnt/models", "--port=8080"]),
        (["/usr/bin/vllm"], ["serve", "/mnt/models"], ["/mnt/models"]),
        ([], ["serve", "/mnt/models"], ["/mnt/models"]),
        ([], FLAGS, FLAGS),
        (["bash", "-c"], [f"python3 -m {SERVER} --port=8080 --model=/mnt/models"], FLAGS),
        (["/bin/sh", "-c", "exec vllm serve \\\n  /mnt/models --x '{\"a\": 1}'"], [],
         ["/mnt/models", "--x", '{"a": 1}']),
        (["sh", "-c", "vllm serve $(MODEL)"], [], ["$(MODEL)"]),
    ],
)  # fmt: skip
def test_vllms_arguments_are_found_however_it_is_started(command, args, expected):
    assert arguments(command, args) == expected


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (["sleep", "9"], []),
        (["python", "serve.py"], []),
        (["python", "-m"], []),
        (["sh", "-c", "nvidia-smi; vllm serve /mnt/models"], []),
        (["sh", "-c", "vllm serve $MODEL"], []),
        (["sh", "-c", "vllm serve 'x"], []),
    ],
)
def test_a_command_that_does_something_else_is_said_to(command, args):
    with pytest.raises(NotVllm, match=r"not known to start vLLM|shell's command"):
        arguments(command, args)


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (FLAGS, "/mnt/models"),
        (["--model", "/mnt/models"], "/mnt/models"),
        (["/mnt/models", "--port=1"], "/mnt/models"),
        (["--port=1"], ""),
        (["--model"], ""),
        ([], ""),
    ],
)
def test_the_checkpoint_is_what_the_arguments_name(args, path):
    assert path_of(args) == path


def test_a_checkpoints_own_words():
    config = {"architectures": ["Qwen3ForCausalLM"], "quantization_config": {"quant_method": "fp8"}}
    assert model_of(config) == Model("Qwen3ForCausalLM", "fp8")
    assert model_of({"architectures": []}).problem == "its config.json names no architecture"
