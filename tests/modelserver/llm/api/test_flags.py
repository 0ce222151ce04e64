"""vLLM's command lines, as manifests have them."""

import re
from pathlib import Path

import pytest
import yaml

from motorpool.modelserver.llm.flags import Help, UsageError, parse

RUNTIMES = Path(__file__).parents[4] / "src/motorpool/controllers/servingruntime"
GUIDE = [
    ["--port=8080", "--model=/mnt/models", "--served-model-name=granite"],
    ["--port=8080", "--model=/mnt/models", "--tensor-parallel-size=2", "--max-model-len=8192",
     "--max-num-seqs=256", "--max-model-len=8192", "--gpu-memory-utilization=0.95"],
    ["--port=8000", "--model=/model", "--served-model-name=ibm-granite/granite-3.1-2b-instruct",
     "--tensor-parallel-size=1"],
]  # fmt: skip


def argument_lists():
    for file in sorted(RUNTIMES.glob("*/*vllm*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            document = document["objects"][0] if document.get("kind") == "Template" else document
            for container in document["spec"]["containers"]:
                args = [str(each).replace("{{.Name}}", "m") for each in container.get("args", [])]
                yield pytest.param(args, id=file.stem)


@pytest.mark.parametrize("args", [*argument_lists(), *GUIDE])
def test_the_arguments_of_shipped_runtimes_and_the_guide_are_taken(args):
    settings = parse(args)

    assert settings.port in (8000, 8080)
    assert settings.model in ("/mnt/models", "/model")


def test_dashes_and_underscores_spaces_and_equals_are_the_same():
    one = parse(["--model=/m", "--max-model-len=4k", "--served-model-name", "a", "b"])
    other = parse(["--model", "/m", "--max_model_len", "4000", "--served_model_name", "a", "b"])

    assert one == other
    assert one.names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "length"), [("4096", 4096), ("4k", 4000), ("4K", 4096), ("1M", 2**20), ("-1", None)]
)
def test_lengths_have_units(text, length):
    assert parse(["/m", f"--max-model-len={text}"]).max_model_len == length


def test_a_model_may_stand_alone_as_after_vllm_serve():
    for words in (["serve", "/m"], ["/m"], ["serve", "--dtype", "half", "/m"]):
        assert parse(words).model == "/m"


def test_switches_have_a_no():
    assert parse(["/m"]).prefix_caching
    assert not parse(["/m", "--no-enable-prefix-caching"]).prefix_caching


def test_the_last_of_a_flag_counts():
    assert parse(["/m", "--max-model-len=1", "--max-model-len=2"]).max_model_len == 2


def test_json_may_come_field_by_field():
    settings = parse(
        ["/m", "--override-generation-config.top_k=5", "--override-generation-config.min_p", "0.1"]
    )

    assert settings.override_generation_config == {"top_k": 5, "min_p": 0.1}


def test_what_means_nothing_on_a_cpu_is_named():
    settings = parse(["/m", "-tp", "2", "--enforce-eager", "--gpu-memory-utilization", "0.9"])

    assert settings.without_effect == (
        "enforce-eager",
        "gpu-memory-utilization",
        "tensor-parallel-size",
    )


@pytest.mark.parametrize(
    "words", [["--runner", "pooling"], ["--task=embed"], ["--task=embedding"], ["--convert=embed"]]
)
def test_vectors_may_be_asked_for(words):
    settings = parse(["/m", *words, '--pooler-config={"pooling_type": "CLS", "normalize": false}'])

    assert (settings.embeds, settings.pooling, settings.normalize) == (True, "cls", False)
    assert not parse(["/m", "--runner=auto", "--task=generate"]).embeds


def test_positions_may_be_turned_as_the_command_line_says():
    scaling = '{"rope_type": "linear", "factor": 2.0}'

    settings = parse(["/m", "--rope-scaling", scaling, "--rope-theta", "500000"])

    assert settings.hf_overrides == {
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
        "rope_theta": 500_000.0,
    }


def test_a_file_comes_before_the_words():
    text = "port: 1\nmax-model-len: 4k\nserved_model_name: [a, b]\nenforce-eager: true\n"

    settings = parse(["/m", "--config", "c.yaml", "--port", "2"], read=lambda path: text)

    assert (settings.port, settings.max_model_len, settings.names) == (2, 4000, ("a", "b"))
    assert settings.without_effect == ("enforce-eager",)


def test_the_environment_may_hold_the_key_and_the_cache():
    settings = parse(["/m"], {"VLLM_API_KEY": "k", "VLLM_CPU_KVCACHE_SPACE": "2"})

    assert settings.api_keys == ("k",)
    assert settings.kv_cache_bytes == 2 * 2**30


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "the following arguments are required: --model"),
        (["/m", "--nope", "1"], "unrecognized arguments: --nope 1"),
        (["/m", "--port", "x"], "argument --port: should be a number from 0 to 65535: 'x'"),
        (["/m", "--dtype", "int3"], "argument --dtype: invalid choice: 'int3'"),
        (["/m", "--enable-auto-tool-choice"], "Error: --enable-auto-tool-choice requires"),
        (["/m", "--tool-call-parser", "x"], "invalid tool call parser: x (chose from { granite,"),
        (["/m", "--max-model-len", "4x"], "argument --max-model-len: invalid length: '4x'"),
        (["/m", "--lora-modules", "a=b"], "--lora-modules: adapters are not served"),
        (["/m", "--config", "/nope"], "--config /nope: "),
        (
            ["/m", "--pooler-config", '{"pooling_type": "STEP"}'],
            "--pooler-config: pooling_type 'STEP' is not served, CLS, MEAN, LAST are",
        ),
        (["/m", "--pooler-config.normalize=1"], "normalize should be true or false"),
        (["/m", "--rope-theta=x"], "argument --rope-theta: should be a number: 'x'"),
    ],
)
def test_a_wrong_command_line_is_refused(words, text):
    with pytest.raises(UsageError, match=re.escape(text)):
        parse(words)


def test_help_lists_what_means_something():
    with pytest.raises(Help) as shown:
        parse(["--help"])

    assert "--max-model-len" in str(shown.value)
    assert "--tensor-parallel-size" not in str(shown.value)
