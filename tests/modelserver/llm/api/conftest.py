import asyncio
import contextlib

import pytest

from motorpool.modelserver.llm import flags
from motorpool.modelserver.llm.api.http import App
from motorpool.modelserver.llm.api.listener import Listener, bound
from motorpool.modelserver.llm.api.loading import Texts
from motorpool.modelserver.llm.api.metrics import Metrics
from motorpool.modelserver.llm.api.tokenizer import Tokenizer
from tests.modelserver.llm.api.program import started
from tests.modelserver.llm.api.scripted import ScriptedEngine
from tests.modelserver.llm.checkpoints import make_checkpoint, make_tokenizer

NOW_S = 1_755_189_746


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    """A model's files, all but the model."""
    made = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(made)
    return made


@pytest.fixture(scope="session")
def tokenizer(directory):
    return Tokenizer(directory)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")


@pytest.fixture(scope="session")
def program(checkpoint, tmp_path_factory):
    """The real program, for all tests that leave it as it was."""
    words = ("--served-model-name=tiny", "--enable-auto-tool-choice", "--tool-call-parser=hermes")
    # The same numbers on every machine.
    exact = "--dtype=float32"
    log = tmp_path_factory.mktemp("program") / "log"
    with started(checkpoint, *words, exact, log=log) as running:
        yield running


@pytest.fixture
async def serving(directory):
    """Serves a scripted engine in this very loop: flags -> base URL and engine."""
    async with contextlib.AsyncExitStack() as stack:

        async def serve(*words, task="generate", max_model_len=512):
            settings = flags.parse([str(directory), "--served-model-name", "m", "m2", *words])
            engine = ScriptedEngine(directory, task=task, max_model_len=max_model_len)
            model = Texts(settings).model(await engine.start())
            metrics = Metrics(model.name, model.max_model_len, NOW_S)
            app = App(model, engine, metrics, now=lambda: NOW_S)
            taken = bound("127.0.0.1", 0)
            port = taken.getsockname()[1]
            listener = Listener(app, taken, settings.tls)
            await stack.enter_async_context(_running(listener))
            return f"http://127.0.0.1:{port}", engine

        yield serve


@pytest.fixture
def running():
    return _running


@contextlib.asynccontextmanager
async def _running(listener):
    task = asyncio.create_task(listener.serve())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        listener.stop()
        await task
