"""A process that has called `warm` forks children that serve."""

import json
import subprocess
import sys
import textwrap

import pytest

from tests.modelserver import models
from tests.modelserver.server import DEADLINE_S, environment, free_port

pytestmark = pytest.mark.slow


def in_python(program, *arguments):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_warming_starts_no_thread_and_imports_what_takes_time():
    result = in_python(
        """
        import json, os, sys
        from motorpool.modelserver import main
        cold = "openvino" in sys.modules
        main.warm()
        modules = {"numpy", "openvino", "granian", "PIL", "uvloop", "grpc"} <= set(sys.modules)
        print(json.dumps([cold, modules, len(os.listdir("/proc/self/task"))]))
        """
    )

    assert result == [False, True, 1]


FORKS = """
    import atexit, http.client, json, os, signal, sys, time
    begun = time.perf_counter()
    from motorpool.modelserver import main

    main.warm()
    warmed = time.perf_counter() - begun
    took, answers, codes, children = [], [], [], []

    def stop():
        while children:
            os.kill(children[0], signal.SIGTERM)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(children.pop(0), 0)[1]))

    atexit.register(stop)
    for port, rpc_port in zip(sys.argv[2::2], sys.argv[3::2]):
        started = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(main.run([
                "--model_name=m", f"--model_path={sys.argv[1]}", f"--rest_port={port}",
                "--rest_bind_address=127.0.0.1", "--target_device=AUTO",
                f"--port={rpc_port}", "--grpc_bind_address=127.0.0.1",
            ]))
        children.append(pid)
        body = json.dumps({"inputs": [
            {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]})
        while time.perf_counter() - started < 40:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
                connection.request("POST", "/v2/models/m/infer", body)
                answers.append(json.loads(connection.getresponse().read())["outputs"][0]["data"])
                break
            except ConnectionRefusedError:
                time.sleep(0.002)
            finally:
                connection.close()
        took.append(time.perf_counter() - started)
    threads = len(os.listdir("/proc/self/task"))
    stop()
    print(json.dumps([warmed, took, answers, codes, threads]))
"""


def test_children_answer_soon_after_the_fork(tmp_path):
    models.times(tmp_path / "1", 2)

    given = FORKS, tmp_path, *(free_port() for _ in range(6))
    warmed, took, answers, codes, threads = in_python(*given)

    assert answers == [[2, 4, 6, 8]] * 3
    assert codes == [0, 0, 0]
    assert threads == 1
    # A tenth of a second, of half a one that warming takes: less on every machine.
    assert min(took) < warmed, (took, warmed)


def test_what_a_server_leaves_out_is_there_for_who_wants_it_later():
    result = in_python(
        """
        import json, sys
        from motorpool.modelserver import main
        main.warm()
        named = "rich", "openvino.tools.ovc", "openvino.opset13"
        left_out = [name in sys.modules for name in named]
        import openvino.opset8, openvino.tools.ovc, rich.console
        from openvino import opset13
        print(json.dumps([left_out, hasattr(opset13, "relu"), hasattr(openvino.opset8, "relu")]))
        """
    )

    assert result == [[False, False, False], True, True]
