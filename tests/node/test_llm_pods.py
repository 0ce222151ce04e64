"""Pods that were written for vLLM, served by motorpool-llm on a real node."""

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from motorpool.api import core
from motorpool.api.serving import INFERENCE_SERVICE
from tests.modelserver.llm.checkpoints import make_checkpoint
from tests.node.conftest import Platform, pod, until

pytestmark = pytest.mark.slow

VLLM: dict[str, Any] = {
    "name": "main",
    "image": "vllm-cuda-image",
    "command": ["python", "-m", "vllm.entrypoints.openai.api_server"],
    "args": ["--port=8080", "--model=/mnt/models", "--served-model-name=tiny",
             "--tensor-parallel-size=1", "--max-model-len=256"],
    "volumeMounts": [{"name": "model", "mountPath": "/mnt/models", "readOnly": True}],
    "readinessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1},
}  # fmt: skip


def serving(checkpoint: Path) -> Any:
    return pod("web", VLLM, volumes=[{"name": "model", "hostPath": {"path": str(checkpoint)}}])


def completed(ip: str) -> Any:
    body = json.dumps({"model": "tiny", "prompt": "a motor", "max_tokens": 4}).encode()
    request = urllib.request.Request(
        f"http://{ip}:8080/v1/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


async def test_a_pod_for_vllm_answers_and_says_which_engine_it_has(
    platform: Platform, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny")
    service = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
               "metadata": {"name": "tiny", "namespace": "default"}, "spec": {}}  # fmt: skip
    await platform.client.create(INFERENCE_SERVICE, service)
    asked = serving(checkpoint)
    asked["metadata"]["labels"] = {"serving.kserve.io/inferenceservice": "tiny"}
    await platform.create(asked)
    await until(platform.is_ready, 30)
    status = platform.status()
    answer = await asyncio.to_thread(completed, status["podIP"])
    assert answer["usage"]["completion_tokens"] == 4
    await platform.event("EngineChosen: motorpool-llm serves it: it knows LlamaForCausalLM")
    chosen = {
        event["involvedObject"]["kind"]
        for (kind, _), event in platform.client.objects.items()
        if kind == core.EVENT and event["reason"] == "EngineChosen"
    }
    assert chosen == {"Pod", "InferenceService"}
    assert any((platform.data_dir / "llm-cache").iterdir())
    await platform.delete()


async def test_a_model_that_no_engine_knows_waits_and_says_what_would_do(
    platform: Platform, tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny")
    config = json.loads((checkpoint / "config.json").read_text())
    config["architectures"] = ["UnheardOfForCausalLM"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    await platform.create(serving(checkpoint))
    message = await platform.waiting("ErrImageNeverPull")
    assert "motorpool-llm does not know the architecture UnheardOfForCausalLM" in message
    assert "pip install vllm" in message
