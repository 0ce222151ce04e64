"""Embeddings, scores and rankings: their shapes by a scripted engine, their numbers by the real."""

import base64
import math
import struct

import httpx
import numpy as np
import openai
import pytest

from tests.modelserver.llm.api.program import started
from tests.modelserver.llm.checkpoints import make_checkpoint, make_pooling


async def post(url, path, document):
    async with httpx.AsyncClient(base_url=url) as client:
        return await client.post(path, json=document)


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
async def test_a_text_is_scored_with_each_of_several(serving, path):
    url, _ = await serving(task="embed")

    answer = (await post(url, path, {"text_1": "a", "text_2": ["a", "abc"], "model": "m"})).json()

    assert list(answer) == ["id", "object", "created", "model", "data", "usage"]
    assert answer["id"].startswith("score-")
    assert [list(each) for each in answer["data"]] == [["index", "object", "score"]] * 2
    assert answer["data"][0]["score"] == pytest.approx(1)
    lengths = [[1, 0.5, -0.25], [3, 0.5, -0.25]]
    assert answer["data"][1]["score"] == pytest.approx(cosine(*lengths))
    # Each pair is one text to vLLM: 1 + 1 + 1 and 1 + 1 + 3, with a token between the two.
    assert answer["usage"]["prompt_tokens"] == 8


async def test_texts_are_scored_side_by_side(serving):
    url, _ = await serving(task="embed")

    pairs = {"text_1": ["a", "abc"], "text_2": ["abc", "abc"]}
    answer = (await post(url, "/score", pairs)).json()

    first, second = (each["score"] for each in answer["data"])
    assert first < second == pytest.approx(1)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (
            {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]},
            "Input lengths must be either 1:1, 1:N or N:N",
        ),
        ({"text_1": [], "text_2": "a"}, "At least one text element must be given"),
        ({"text_1": "a", "text_2": []}, "At least one text_pair element must be given"),
    ],
)
async def test_texts_that_are_no_pairs_are_refused(serving, pairs, text):
    url, _ = await serving(task="embed")

    refused = await post(url, "/score", pairs)

    assert (refused.status_code, refused.json()["message"]) == (400, text)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
async def test_the_best_documents_come_first(serving, path):
    url, _ = await serving(task="embed")
    documents = ["abcdef", "abc", "ab"]

    asked = {"model": "m", "query": "abc", "documents": documents}
    answer = (await post(url, path, asked)).json()
    first = (await post(url, path, asked | {"top_n": 1})).json()

    assert list(answer) == ["id", "model", "usage", "results"]
    assert answer["id"].startswith("rerank-")
    assert list(answer["usage"]) == ["total_tokens"]
    assert [each["index"] for each in answer["results"]] == [1, 2, 0]
    assert answer["results"][0]["document"] == {"text": "abc"}
    assert answer["results"][0]["relevance_score"] == pytest.approx(1)
    assert first["results"] == answer["results"][:1]


async def test_pooling_gives_the_vectors_too(serving):
    url, _ = await serving(task="embed")

    answer = (await post(url, "/pooling", {"input": ["abc", "d"]})).json()

    assert answer["data"][1] == {"index": 1, "object": "pooling", "data": [1.0, 0.5, -0.25]}


async def test_pairs_are_read_together_by_a_model_for_that(serving):
    url, _ = await serving(task="score")

    asked = {"query": "a", "documents": ["bcd", "b"]}
    answer = (await post(url, "/rerank", asked)).json()
    cut = (await post(url, "/rerank", asked | {"truncate_prompt_tokens": 2})).json()
    refused = await post(url, "/v1/embeddings", {"input": "a"})

    scores = [(each["index"], each["relevance_score"]) for each in answer["results"]]
    assert scores == [(1, 1 / 2), (0, 1 / 4)]
    assert answer["usage"] == {"total_tokens": 6}
    assert cut["usage"] == {"total_tokens": 4}
    assert refused.json()["message"] == "The model does not support Embeddings API"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/score", "Score"),
        ("/v1/rerank", "Rerank (Score)"),
        ("/pooling", "Pooling"),
        ("/classify", "Classification"),
        ("/v1/embeddings", "Embeddings"),
    ],
)
async def test_a_model_that_writes_has_none_of_them(serving, path, name):
    url, _ = await serving()
    anything = {"input": "a", "query": "a", "documents": ["b"], "text_1": "a", "text_2": "b"}

    refused = await post(url, path, anything)

    assert refused.status_code == 400
    assert refused.json()["message"] == f"The model does not support {name} API"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    checkpoint = make_checkpoint(tmp_path_factory.mktemp("embedder") / "model", "bert", dtype="f32")
    make_pooling(checkpoint, "mean_tokens")
    log = tmp_path_factory.mktemp("log") / "log"
    words = "--served-model-name=bert", "--dtype=float32"
    with started(checkpoint, *words, log=log) as running:
        yield running


@pytest.fixture
def client(embedder):
    with openai.OpenAI(base_url=f"{embedder.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.slow
def test_the_client_gets_the_vectors_of_the_real_engine(client, embedder):
    texts = ["A motor pool", "keeps cars", "A motor pool"]

    # The client asks for base64 by itself.
    made = client.embeddings.create(model="bert", input=texts)
    plain = httpx.post(f"{embedder.url}/v1/embeddings", json={"input": texts}).json()

    vectors = [each.embedding for each in made.data]
    assert [each["embedding"] for each in plain["data"]] == [pytest.approx(v) for v in vectors]
    assert vectors[0] == vectors[2] != vectors[1]
    assert math.hypot(*vectors[1]) == pytest.approx(1, abs=1e-5)
    assert made.usage.prompt_tokens == made.usage.total_tokens > 0


@pytest.mark.slow
def test_a_text_alone_or_among_others_has_one_vector(client):
    texts = [f"{'car ' * length}{length}" for length in range(1, 40, 3)]

    together = client.embeddings.create(model="bert", input=texts).data
    alone = [client.embeddings.create(model="bert", input=text).data[0] for text in texts]

    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-4)


@pytest.mark.slow
def test_numbers_are_bytes_of_f32_where_base64_is_asked_for(embedder):
    def asked(**more):
        answer = httpx.post(f"{embedder.url}/v1/embeddings", json={"input": "a car", **more})
        return answer.json()["data"][0]["embedding"]

    packed = base64.b64decode(asked(encoding_format="base64"))

    assert struct.unpack(f"<{len(packed) // 4}f", packed) == pytest.approx(asked())


@pytest.mark.slow
def test_a_ranking_is_by_the_vectors_of_the_real_engine(client, embedder):
    documents = ["0123456789", "The quick brown fox", "cars that are ready"]

    ranked = httpx.post(
        f"{embedder.url}/v1/rerank", json={"query": "cars are ready", "documents": documents}
    ).json()["results"]

    vectors = client.embeddings.create(model="bert", input=["cars are ready", *documents]).data
    query, *others = (each.embedding for each in vectors)
    expected = {index: cosine(query, other) for index, other in enumerate(others)}
    assert {each["index"]: each["relevance_score"] for each in ranked} == pytest.approx(
        expected, abs=1e-4
    )
    assert [each["index"] for each in ranked] == sorted(expected, key=expected.get, reverse=True)


@pytest.mark.slow
def test_a_text_that_is_too_long_is_refused_or_cut(client, embedder):
    with pytest.raises(openai.BadRequestError, match="maximum context length is 512 tokens"):
        client.embeddings.create(model="bert", input="x 1 " * 2000)

    cut = client.embeddings.create(
        model="bert", input="x 1 " * 2000, extra_body={"truncate_prompt_tokens": -1}
    )
    assert cut.usage.prompt_tokens == 512
