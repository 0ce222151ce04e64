"""The life of the program: its start, its end, and the end of its engine."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.modelserver.llm.api.program import DEADLINE_S, started
from tests.modelserver.server import environment

pytestmark = pytest.mark.slow

LONG = {
    "messages": [{"role": "user", "content": "Hello?"}],
    "stream": True,
    "max_tokens": 480,
    "ignore_eos": True,
}


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "motorpool.modelserver.llm", *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
    )


@contextlib.contextmanager
def begun(program):
    """A long stream of which the first bytes have come."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=DEADLINE_S)
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(LONG), {"content-type": "application/json"}
    )
    with contextlib.closing(connection), connection.getresponse() as response:
        first = response.read(1)
        assert (response.status, first) == (200, b"d")
        yield response


def test_it_takes_its_port_at_once_and_answers_once_it_can(checkpoint, tmp_path):
    with started(checkpoint, log=tmp_path / "log", ready=False) as program:
        seen = []
        while not seen or seen[-1] != 200:
            seen.append(program.status("/v1/models"))
            time.sleep(0.01)
            assert program.process.poll() is None, program.log.read_text()

        assert set(seen) == {None, 200}  # refused, until it answers
        assert seen[0] is None
        assert program.stop() == 0


def test_sigterm_lets_running_requests_come_to_their_end(checkpoint, tmp_path):
    with started(checkpoint, log=tmp_path / "log") as program:
        with begun(program) as response:
            program.process.send_signal(signal.SIGTERM)
            rest = response.read()

        assert rest.endswith(b"data: [DONE]\n\n")
        assert b'"finish_reason":"length"' in rest
        assert program.process.wait(DEADLINE_S) == 0


def test_an_engine_that_is_killed_fails_what_ran_and_ends_the_program(checkpoint, tmp_path):
    with started(checkpoint, log=tmp_path / "log") as program:
        with begun(program) as response:
            os.kill(program.engine_pid(), signal.SIGKILL)
            rest = response.read()

        last = json.loads(rest.split(b"\n\n")[-3].removeprefix(b"data: "))
        assert last["error"]["type"] == "InternalServerError"
        assert "EngineDeadError" in last["error"]["message"]
        assert rest.endswith(b"data: [DONE]\n\n")
        assert program.process.wait(DEADLINE_S) == 1


def test_a_port_that_is_taken_is_told(checkpoint, tmp_path):
    with started(checkpoint, log=tmp_path / "log") as program:
        done = run(str(checkpoint), "--host=127.0.0.1", f"--port={program.port}")

    assert done.returncode == 1
    assert "Address already in use" in done.stderr


def test_files_that_are_no_model_are_told(tmp_path):
    done = run(str(tmp_path), "--host=127.0.0.1", "--port=0")

    assert done.returncode == 1
    assert "tokenizer.json" in done.stderr or "config.json" in done.stderr


def test_an_unknown_flag_is_a_wrong_use():
    done = run("--model=/m", "--nonsense")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "motorpool-llm: error: unrecognized arguments: --nonsense"
    )
