"""The supervisor's side of a fork server: starts it, hands it requests, notices its death.

States: *warming* (requests wait in line), *ready*, *dead*. A request that a fork server cannot
serve comes back to the supervisor, which executes the program instead.
"""

import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motorpool.node.supervisor.spawn import execute

AGAIN_S = 60.0  # a fork server that died is not started anew before
ANSWER_TIMEOUT_S = 20.0
WAITING_MAX = 1000

Forked = Callable[[str, int], None]
"""Called with the id and the pid of what was forked."""
Refused = Callable[[str, str], None]
"""Called with the id and the reason why it could not be forked."""


class ForkServer:
    def __init__(
        self, module: str, run_dir: Path, selector: selectors.BaseSelector,
        forked: Forked, refused: Refused,
    ) -> None:  # fmt: skip
        self.module = module
        self.state = "warming"
        self.reason = ""
        self._selector = selector
        self._forked = forked
        self._refused = refused
        self._waiting: dict[str, tuple[float, dict[str, Any]]] = {}
        self._asked: dict[str, float] = {}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.set_inheritable(True)
        self._log = log = run_dir / "forkserver.log"
        log.write_bytes(b"")
        env = {
            **os.environ,
            # Libraries that start threads for every core when they are loaded must not, here.
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
        }  # fmt: skip
        program = "motorpool.node.supervisor.forkserver"
        argv = [sys.executable, "-m", program, module, str(theirs.fileno())]
        try:
            self.pid = execute(argv, env, "/", (log, log))
        finally:
            theirs.close()
        self._socket = ours
        self.started_at = time.monotonic()
        selector.register(ours, selectors.EVENT_READ, self._read)

    def request(self, id_: str, request: dict[str, Any]) -> bool:
        """False where the request cannot be taken."""
        if self.state == "dead" or len(self._waiting) >= WAITING_MAX:
            return False
        if self.state == "warming":
            self._waiting[id_] = (time.monotonic() + ANSWER_TIMEOUT_S, request)
            return True
        return self._send(id_, request)

    def next_deadline(self) -> float | None:
        deadlines = [deadline for deadline, _ in self._waiting.values()]
        deadlines += self._asked.values()
        return min(deadlines, default=None)

    def check_deadlines(self, now: float) -> None:
        """Gives up a fork server that does not answer: nothing was forked, or it would have."""
        deadline = self.next_deadline()
        if deadline is not None and deadline <= now:
            self.close("it did not answer in time")

    def close(self, reason: str) -> None:
        """Ends it; what it owed an answer comes back as refused."""
        if self.state == "dead":
            return
        self.state, self.reason = "dead", reason
        self._selector.unregister(self._socket)
        self._socket.close()
        try:
            os.kill(self.pid, 9)
        except ProcessLookupError:
            self.pid = 0
        owed = [*self._waiting, *self._asked]
        self._waiting.clear()
        self._asked.clear()
        for id_ in owed:
            self._refused(id_, reason)

    def _send(self, id_: str, request: dict[str, Any]) -> bool:
        try:
            self._socket.send(json.dumps({"id": id_, **request}).encode())
        except OSError:
            return False
        self._asked[id_] = time.monotonic() + ANSWER_TIMEOUT_S
        return True

    def _read(self) -> None:
        try:
            packet = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(str(error))
            return
        if not packet:
            self.close(f"it ended: {self._last_words()}")
            return
        self._take(json.loads(packet))

    def _last_words(self) -> str:
        try:
            return self._log.read_text(errors="replace").strip().rsplit("\n", 1)[-1][-300:]
        except OSError:
            return ""

    def _take(self, message: dict[str, Any]) -> None:
        if "failed" in message:
            self.close(str(message["failed"]))
        elif "ready" in message:
            self.state = "ready"
            waiting, self._waiting = self._waiting, {}
            for id_, (_, request) in waiting.items():
                if not self._send(id_, request):
                    self._refused(id_, "it takes no requests")
        else:
            id_ = str(message["id"])
            self._asked.pop(id_, None)
            if "pid" in message:
                self._forked(id_, int(message["pid"]))
            else:
                self._refused(id_, str(message["error"]))


class ForkServers:
    """One for each module, started when it is first asked for."""

    def __init__(
        self, run_dir: Path, selector: selectors.BaseSelector, forked: Forked, refused: Refused
    ) -> None:
        self._run_dir = run_dir
        self._selector = selector
        self._forked = forked
        self._refused = refused
        self._of: dict[str, ForkServer] = {}

    def of(self, module: str) -> ForkServer:
        """Raises OSError where none can be started."""
        known = self._of.get(module)
        if known is not None and (
            known.state != "dead" or time.monotonic() - known.started_at < AGAIN_S
        ):
            return known
        self._of[module] = ForkServer(
            module, self._run_dir, self._selector, self._forked, self._refused
        )
        return self._of[module]

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"module": f.module, "state": f.state, "reason": f.reason, "pid": f.pid}
            for f in self._of.values()
        ]

    def deadlines(self) -> list[float]:
        return [d for f in self._of.values() if (d := f.next_deadline()) is not None]

    def check_deadlines(self, now: float) -> None:
        for forkserver in list(self._of.values()):
            forkserver.check_deadlines(now)

    def ended(self, pid: int, status: int) -> bool:
        """Whether the process that ended was one of them."""
        for forkserver in self._of.values():
            if forkserver.pid == pid:
                forkserver.close(f"it ended: {_words(status)}")
                return True
        return False

    def close(self) -> None:
        for forkserver in self._of.values():
            forkserver.close("the supervisor stops")


def _words(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
