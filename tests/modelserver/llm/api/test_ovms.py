"""OpenVINO Model Server's generative endpoints: their shapes, and their own ways to refuse."""

import contextlib
import json
import subprocess
import sys
import time

import httpx
import pytest

from motorpool.modelserver.flags import UsageError
from motorpool.modelserver.graphs import graph_directory
from motorpool.modelserver.llm.api.listener import Listener, bound
from motorpool.modelserver.llm.api.loading import Texts
from motorpool.modelserver.llm.api.metrics import Metrics
from motorpool.modelserver.llm.ovms.flags import parse
from motorpool.modelserver.llm.ovms.http import OvmsApp, Switch
from tests.modelserver.llm.api.scripted import ScriptedEngine
from tests.modelserver.llm.api.test_http import events, get, post, said
from tests.modelserver.server import environment, free_port

SERVER = ["--model_name=m", "--rest_port=1", "--task=text_generation"]
CHAT = "/v3/chat/completions"
REFUSED = (
    "Mediapipe execution failed. MP status - INVALID_ARGUMENT: CalculatorGraph::Run() failed: "
)


@contextlib.asynccontextmanager
async def serving(directory, running, *words, task="generate", max_model_len=512):
    settings = parse([*SERVER, f"--model_path={directory}", *words])
    engine = ScriptedEngine(directory, task=task, max_model_len=max_model_len)
    model = Texts(settings.model).model(await engine.start())
    switch = Switch()
    taken = bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    async with running(Listener(switch, taken, settings.model.tls)):
        assert (await get(url, "/v2/health/live")).status_code == 200
        assert (await get(url, "/v2/health/ready")).status_code == 503
        switch.app = OvmsApp(
            *(model, engine, Metrics("m", 512, 1.0)),
            now=lambda: 1_755_189_746,
            chunks_max=settings.chunks_max,
            cors=settings.cors,
        )
        yield url


@pytest.fixture
async def ovms(directory, running):
    async with serving(directory, running) as url:
        yield url


async def test_a_chat(ovms):
    answer = (await post(ovms, CHAT, said("Hello!", model="m"))).json()

    assert answer == {
        "choices": [
            {
                "finish_reason": "stop",
                "index": 0,
                "logprobs": None,
                "message": {"content": "Hello!", "role": "assistant", "tool_calls": []},
            }
        ],
        "created": 1_755_189_746,
        "model": "m",
        "object": "chat.completion",
        "usage": answer["usage"],
    }
    assert list(answer["usage"]) == ["prompt_tokens", "completion_tokens", "total_tokens"]


async def test_a_stream(ovms):
    options = {"include_usage": True}
    answer = await post(ovms, CHAT, said("ab", model="m", stream=True, stream_options=options))

    first, *rest, used = events(answer)
    assert first == {
        "choices": [
            {
                "index": 0,
                "logprobs": None,
                "delta": {"role": "assistant", "content": None},
                "finish_reason": None,
            }
        ],
        "created": 1_755_189_746,
        "model": "m",
        "object": "chat.completion.chunk",
        "usage": None,
    }
    assert "".join(each["choices"][0]["delta"]["content"] for each in rest) == "ab"
    assert rest[-1]["choices"][0]["finish_reason"] == "stop"
    assert (used["choices"], used["usage"]["completion_tokens"]) == ([], 3)


async def test_text_below_each_prefix(ovms):
    for prefix in ("/v3", "/v3/v1", "/v1"):
        asked = {"model": "m", "prompt": "SAY[abc]SAY"}
        answer = (await post(ovms, f"{prefix}/completions", asked)).json()
        assert answer["object"] == "text_completion"
        assert list(answer["choices"][0].values()) == ["stop", 0, None, "abc"]
    streamed = events(await post(ovms, "/v3/completions", asked | {"stream": True}))
    assert streamed[0]["object"] == "text_completion.chunk"


async def test_the_models_and_whether_they_are_ready(ovms):
    listed = (await get(ovms, "/v3/models")).json()

    assert listed == {
        "data": [{"id": "m", "object": "model", "created": 1_755_189_746, "owned_by": "OVMS"}],
        "object": "list",
    }
    for path in ("/v2/health/ready", "/v2/models/m/ready", "/v3/models/m"):
        assert (await get(ovms, path)).status_code == 200
    missing = await get(ovms, "/v3/models/other")
    assert (missing.status_code, missing.json()) == (500, {"error": "Model not found"})


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 412, "The file is not valid json - Cannot parse JSON body"),
        (b"[]", 412, "The file is not valid json - JSON body must be an object"),
        (b"{}", 412, "The file is not valid json - model field is missing in JSON body"),
        (b'{"model": 1}', 412, "The file is not valid json - model field is not a string"),
        (
            b'{"model": "m", "stream": 1}',
            412,
            "The file is not valid json - stream field is not a boolean",
        ),
        (
            b'{"model": "other"}',
            404,
            "Mediapipe graph definition with requested name is not found",
        ),
    ],
)
async def test_what_is_no_request_is_refused_as_there(ovms, body, status, text):
    async with httpx.AsyncClient(base_url=ovms) as client:
        answer = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (status, {"error": text})


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"temperature": 3}, "temperature out of range(0.0, 2.0)"),
        ({"max_tokens": 0}, "max_tokens value should be greater than 0"),
        ({"n": 2}, "n value cannot be greater than best_of"),
        ({"stop": ["x"] * 17}, "stop array must have no more than 16 strings"),
        ({"stream_options": {}}, "stream_options provided, but stream not set to true"),
        ({"stream": True, "logprobs": True}, "logprobs are not supported in streaming mode."),
    ],
)
async def test_what_may_not_be_asked_is_refused_as_there(ovms, more, text):
    answer = await post(ovms, CHAT, said("x", model="m") | more)

    assert (answer.status_code, answer.json()) == (400, {"error": REFUSED + text})


async def test_addresses_verbs_and_types_that_are_none(ovms):
    wrong = await get(ovms, CHAT)
    assert (wrong.status_code, wrong.json()) == (406, {"error": "Unsupported method"})
    nothing = await get(ovms, "/nothing")
    assert (nothing.status_code, nothing.json()) == (400, {"error": "Invalid request URL"})
    async with httpx.AsyncClient(base_url=ovms) as client:
        form = await client.post(CHAT, content=json.dumps(said("x", model="m")))
    assert form.status_code == 404


async def test_tools_without_a_parser_are_only_shown(ovms):
    tools = [{"type": "function", "function": {"name": "f"}}]

    answer = (await post(ovms, CHAT, said("x", model="m", tools=tools))).json()

    assert answer["choices"][0]["message"]["content"] == "x"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--task=speech2text"], "--task=speech2text: this server has the tasks"),
        (["--tool_parser=x"], "--tool_parser=x: should be one of"),
        (["--max_num_seqs=many"], "--max_num_seqs=many: should be a number"),
        (["--nothing"], "unmatched arguments: --nothing"),
    ],
)
def test_a_wrong_command_line_is_refused(words, text):
    with pytest.raises(UsageError, match=text):
        parse([*SERVER, "--model_path=/m", *words])


def test_the_engine_gets_what_the_command_line_says():
    words = ["--cache_size", "2", "--max_num_seqs=8", "--tool_parser=hermes3", "--truncate=true"]

    settings = parse([*SERVER, "--model_path=/m", *words]).model

    assert settings.kv_cache_bytes == 2 * 2**30
    assert (settings.max_num_seqs, settings.tool_call_parser) == (8, "hermes")
    assert settings.without_effect == ("truncate",)


def test_the_pooling_of_vectors_is_the_command_lines():
    words = ["--model_name=m", "--rest_port=1", "--model_path=/m", "--task=embeddings"]

    chosen = parse([*words, "--pooling=CLS", "--normalize=false"]).model
    left = parse(words).model

    assert (chosen.embeds, chosen.pooling, chosen.normalize) == (True, "cls", False)
    assert (left.pooling, left.normalize) == (None, None)
    with pytest.raises(UsageError, match="--pooling=MAX: should be one of CLS, MEAN, LAST"):
        parse([*words, "--pooling=MAX"])


@pytest.mark.slow
def test_motorpool_server_serves_a_task_by_the_real_engine(checkpoint, tmp_path):
    port = free_port()
    words = ["--model_name=m", f"--model_path={checkpoint}", f"--rest_port={port}"]
    words += ["--rest_bind_address=127.0.0.1", "--task", "text_generation"]
    command = [sys.executable, "-m", "motorpool.modelserver", *words]
    asked = said("x", model="m", max_tokens=3)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=environment())
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 30
            while not is_ready(client):
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            answer = client.post(CHAT, json=asked)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert answer.json()["usage"]["completion_tokens"] == 3


def is_ready(client):
    try:
        return client.get("/v2/models/m/ready").status_code == 200
    except httpx.TransportError:
        return False


async def test_when_too_many_wait_the_next_is_told_when_to_come_again(ovms):
    answer = await post(ovms, CHAT, said("BUSY", model="m"))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "7 requests are waiting already" in answer.json()["error"]


RANKING = {"model": "m", "query": "a", "documents": ["bcd", "b"]}


async def test_documents_are_ranked(directory, running):
    async with serving(directory, running, "--task=rerank", task="score") as url:
        all_of_them = (await post(url, "/v3/rerank", RANKING)).json()
        more = {"return_documents": True, "top_n": 1}
        best = (await post(url, "/v3/v1/rerank", RANKING | more)).json()
        titled = [{"title": text, "text": text} for text in RANKING["documents"]]
        by_title = (await post(url, "/v3/rerank", RANKING | {"documents": titled})).json()

    # The scripted engine likes short pairs.
    assert all_of_them == {
        "results": [
            {"index": 1, "relevance_score": 1 / 2},
            {"index": 0, "relevance_score": 1 / 4},
        ]
    }
    assert best == {"results": [{"index": 1, "relevance_score": 1 / 2, "document": {"text": "b"}}]}
    assert by_title == all_of_them


async def test_a_long_document_counts_by_its_best_part(directory, running):
    words = "--task=rerank", "--max_allowed_chunks=3"
    async with serving(directory, running, *words, task="score", max_model_len=4) as url:
        # Three tokens beside the query, and one: of two tokens in all.
        parts = await post(url, "/v3/rerank", RANKING | {"documents": ["bcdx"]})
        too_many = await post(url, "/v3/rerank", RANKING | {"documents": ["bcdx", "bcdx"]})

    assert parts.json()["results"] == [{"index": 0, "relevance_score": 1 / 2}]
    assert too_many.status_code == 400
    assert too_many.json()["error"] == (
        f"{REFUSED}exceeding max_allowed_chunks after chunking limit: 3; actual: 4"
    )


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"query": 1}, "query is not a string"),
        ({"documents": "b"}, "documents is not an array"),
        ({"documents": [1]}, "documents array element is neither string nor object"),
        (
            {"documents": ["b", {"title": "", "text": ""}]},
            "all documents have to be the same type (string or objects)",
        ),
        ({"documents": [{"text": "b"}]}, "document title field is missing"),
        ({"documents": [{"title": "b", "text": 1}]}, "document text field have to be string"),
        ({"top_n": "1"}, "top_n accepts integer values"),
        ({"return_documents": 1}, "return_documents accepts boolean values"),
    ],
)
async def test_what_is_no_ranking_is_refused_as_there(directory, running, more, text):
    async with serving(directory, running, "--task=rerank", task="score") as url:
        refused = await post(url, "/v3/rerank", RANKING | more)

    assert (refused.status_code, refused.json()) == (400, {"error": REFUSED + text})


async def test_a_key_guards_what_is_generated_and_nothing_else(directory, running, tmp_path):
    (tmp_path / "key").write_text("secret\nand more\n")
    asked = said("x", model="m")
    async with serving(directory, running, f"--api_key_file={tmp_path / 'key'}") as url:
        refused = await post(url, CHAT, asked)
        wrong = await post(url, CHAT, asked, headers={"authorization": "Bearer other"})
        known = await post(url, CHAT, asked, headers={"authorization": "Bearer secret"})
        ready = await get(url, "/v2/health/ready")

    text = "Unauthorized request due to invalid or missing api-key"
    assert (refused.status_code, refused.json()) == (500, {"error": text})
    assert wrong.status_code == 500
    assert known.status_code == ready.status_code == 200


def test_the_environment_may_hold_the_key():
    assert parse([*SERVER, "--model_path=/m"], {"API_KEY": "k"}).model.api_keys == ("k",)
    with pytest.raises(UsageError, match="--api_key_file=/nowhere"):
        parse([*SERVER, "--model_path=/m", "--api_key_file=/nowhere"])


async def test_pages_of_other_origins_may_ask(directory, running):
    async with serving(directory, running, "--allowed_origins=https://a.example") as url:
        answer = await post(url, CHAT, said("x", model="m"))
        async with httpx.AsyncClient(base_url=url) as client:
            preflight = await client.options(CHAT)

    for each in (answer, preflight):
        assert each.status_code == 200
        assert each.headers["access-control-allow-origin"] == "https://a.example"
        assert each.headers["access-control-allow-headers"] == "*"


GRAPH = """
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"
node {
  name: "LLMExecutor"
  calculator: "HttpLLMCalculator"
  node_options: {
    [type.googleapis.com / mediapipe.LLMCalculatorOptions]: {
      # max_num_seqs: 1
      models_path: "./", max_num_seqs: 7
      plugin_config: "{\\"KV_CACHE_PRECISION\\": \\"u8\\"}",
      cache_size: 2,
      enable_prefix_caching: false,
      tool_parser: 'hermes3'
      device: "CPU"
    }
  }
}
"""


@pytest.mark.parametrize("place", [".", "1"])
def test_a_graph_beside_the_model_says_how_it_is_served(place, tmp_path):
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "graph.pbtxt").write_text(GRAPH)
    argv = ["--model_name=m", "--rest_port=1", f"--model_path={tmp_path}"]

    settings = parse(argv)
    overridden = parse([*argv, "--max_num_seqs=3"])

    assert graph_directory(argv) == tmp_path / place
    assert settings.task == "text_generation"
    model = settings.model
    assert model.model == str(tmp_path / place)
    assert (model.max_num_seqs, model.kv_cache_bytes) == (7, 2 * 2**30)
    assert (model.prefix_caching, model.kv_cache_precision) == (False, "u8")
    assert model.tool_call_parser == "hermes"
    assert overridden.model.max_num_seqs == 3


def test_a_graph_of_something_else_is_refused_by_name(tmp_path):
    (tmp_path / "graph.pbtxt").write_text('node { calculator: "ImageGenCalculator" }')

    with pytest.raises(UsageError, match="the calculator 'ImageGenCalculator' is not served"):
        parse(["--model_name=m", "--rest_port=1", f"--model_path={tmp_path}"])


def test_a_model_without_a_graph_is_of_another_kind(tmp_path):
    assert graph_directory(["--model_name=m", "--model_path", str(tmp_path)]) is None
    assert graph_directory(["--model_path"]) is None
    assert graph_directory([]) is None


async def test_what_is_served_is_told_as_of_a_graph(ovms):
    about = (await get(ovms, "/v2/models/m")).json()
    config = (await get(ovms, "/v1/config")).json()

    assert (about["versions"], about["platform"]) == (["1"], "OpenVINO")
    assert about["inputs"] == [{"name": "input", "datatype": "INVALID", "shape": []}]
    (version,) = config["m"]["model_version_status"]
    assert (version["state"], version["status"]["error_code"]) == ("AVAILABLE", "OK")
