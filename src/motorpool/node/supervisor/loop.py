"""The supervisor itself: one thread, one selector, no decisions."""

import base64
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motorpool.node.supervisor import protocol
from motorpool.node.supervisor.cgroups import Limits
from motorpool.node.supervisor.connections import Answer, Connection
from motorpool.node.supervisor.datadir import DataDirectory
from motorpool.node.supervisor.forks import ForkServers
from motorpool.node.supervisor.groups import Groups
from motorpool.node.supervisor.processes import Process
from motorpool.node.supervisor.records import Record, boot_id, load
from motorpool.node.supervisor.spawn import execute

EARLY_EXITS_MAX = 256
IDLE_S = 60.0  # with no process to own and nobody connected it has no business here
WATCH_PERIOD_S = 0.5  # only for adopted processes on a system without pidfds
TIDY_PERIOD_S = 0.1  # while control groups wait for their last processes to be gone


class Supervisor:
    def __init__(self, data_dir: Path) -> None:
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self.connections: set[Connection] = set()
        self._pods_dir = data_dir / "pods"
        self._run_dir = data_dir / "run"
        self._records: dict[str, Record] = {}
        self._processes: dict[str, Process] = {}
        self._starting: dict[str, tuple[dict[str, Any], Process, list[Answer]]] = {}
        self._pids: dict[int, str] = {}
        self._early_exits: dict[int, int] = {}
        self._forkservers = ForkServers(
            self._run_dir, self.selector,
            lambda id_, pid: self._started(id_, pid, forked=True),
            lambda id_, reason: self._execute(id_, f"not forked, executed: {reason}"),
        )  # fmt: skip
        self._directory = DataDirectory(data_dir)
        self._unwatched: set[str] = set()
        self._groups = Groups(data_dir)
        self._untidy = False
        self._attached: dict[Connection, list[tuple[Process, Callable[[str, bytes], None]]]] = {}
        self._stopping: dict[str, float] | None = None
        self._idle_since = time.monotonic()
        self._verbs: dict[str, Callable[[dict[str, Any], Answer], None]] = {
            "list": self._list, "start": self._start, "signal": self._signal,
            "forget": self._forget, "warm": self._warm, "stop": self._stop,
            "input": self._input, "end_input": self._end_input, "resize": self._resize,
        }  # fmt: skip

    # The loop.

    def run(self, listener: socket.socket) -> None:
        """Serves until it was told to stop and every process has ended."""
        wakeup, wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: None)
        self.selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        self.selector.register(wakeup, selectors.EVENT_READ, lambda: self._woken(wakeup))
        self._adopt()
        self._reap()
        while not self._is_done():
            for key, _ in self.selector.select(self._timeout_s()):
                # An earlier turn of this round may have unregistered a later one's file.
                if self.selector.get_map().get(key.fd) == key:
                    key.data()
            self._on_time()
        self._forkservers.close()
        self._groups.close()
        if self._stopping is not None:
            self._directory.clear()

    def _is_done(self) -> bool:
        if self._processes or self._starting:
            return False
        if self._stopping is not None:
            return True
        idle = self._idle_since + IDLE_S <= time.monotonic()
        if idle and self._directory.has_companions():
            self._idle_since = time.monotonic()  # Somebody has to see to them.
            return False
        return idle

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        self.connections.add(Connection(self, connection))

    def _woken(self, wakeup: int) -> None:
        signals = os.read(wakeup, 4096)
        if signal.SIGTERM in signals:
            self._stop({}, lambda _: None)
        self._reap()

    def _timeout_s(self) -> float:
        if self.connections or self._processes or self._starting:
            self._idle_since = time.monotonic()
            due = []
        else:
            due = [self._idle_since + IDLE_S]
        due += [self._directory.next_look, *self._forkservers.deadlines()]
        if self._untidy:
            due.append(time.monotonic() + TIDY_PERIOD_S)
        if self._unwatched:
            due.append(time.monotonic() + WATCH_PERIOD_S)
        if self._stopping:
            due.append(min(self._stopping.values()))
        return max(0.0, min(due) - time.monotonic())

    def _on_time(self) -> None:
        now = time.monotonic()
        if self._untidy:
            self._untidy = self._groups.tidy()
        self._forkservers.check_deadlines(now)
        if self._directory.is_gone(now):
            self._stop({}, lambda _: None)
            self._directory.end_companions()
        for id_ in list(self._unwatched):
            if not self._records[id_].is_alive(self._records[id_].boot):
                self._ended(id_, None)
        for id_, deadline in list((self._stopping or {}).items()):
            if deadline <= now:
                self._kill(id_, signal.SIGKILL)
                self._stopping = {**(self._stopping or {}), id_: now + 5.0}

    # Verbs.

    def carry_out(self, verb: str, request: dict[str, Any], answer: Answer) -> None:
        if verb not in self._verbs:
            raise ValueError(f"no such verb: {verb}")
        self._verbs[verb](request, answer)

    def _list(self, _: dict[str, Any], answer: Answer) -> None:
        processes = [record.to_json() for record in self._records.values()]
        listed = {"version": protocol.VERSION, "pid": os.getpid()}
        answer(
            {"ok": {**listed, "processes": processes, "forkservers": self._forkservers.listed()}}
        )

    def _start(self, request: dict[str, Any], answer: Answer) -> None:
        id_ = str(request["id"])
        if id_ in self._records:
            answer({"ok": self._records[id_].to_json()})
            return
        if id_ in self._starting:
            self._starting[id_][2].append(answer)
            return
        if self._stopping is not None:
            raise ValueError("the supervisor is stopping")
        if len(id_.split("/")) != 3 or ".." in id_:
            raise ValueError(f"not an id: {id_}")
        record = Record(self._pods_dir, id_)
        record.grace_s = float(request.get("grace_s", record.grace_s))
        record.directory.mkdir(parents=True, exist_ok=True)
        for stream in ("stdout", "stderr"):
            record.pipe_path(stream).unlink(missing_ok=True)
        stdin, tty = bool(request.get("stdin")), bool(request.get("tty"))
        process = Process(record, self.selector, stdin=stdin, tty=tty)
        record.groups, unlimited = self._groups.make(id_, Limits.of(request.get("limits") or {}))
        self._starting[id_] = (request | {"unlimited": unlimited}, process, [answer])
        if stdin or tty or not self._fork(id_, request, record):
            self._execute(id_, "")

    def _fork(self, id_: str, request: dict[str, Any], record: Record) -> bool:
        fork = request.get("fork")
        if not fork:
            return False
        try:
            forkserver = self._forkservers.of(str(fork["module"]))
        except OSError as error:
            os.write(2, f"no fork server: {error}\n".encode())
            return False
        wanted = {
            "argv": fork["argv"], "env": request["env"], "cwd": request["cwd"],
            "stdout": str(record.pipe_path("stdout")), "stderr": str(record.pipe_path("stderr")),
            "groups": record.groups,
        }  # fmt: skip
        return forkserver.request(id_, wanted)

    def _execute(self, id_: str, notice: str) -> None:
        request, process, answers = self._starting[id_]
        record = process.record
        process.listen()
        try:
            pid = execute(
                request["argv"], request["env"], request["cwd"],
                (record.pipe_path("stdout"), record.pipe_path("stderr")),
                record.pipe_path("stdin") if process.input else None, process.terminal,
                record.groups,
            )  # fmt: skip
        except (OSError, KeyError, TypeError, ValueError) as error:
            del self._starting[id_]
            process.close()
            self._leave_groups(record)
            record.forget()
            number = error.errno if isinstance(error, OSError) else None
            for answer in answers:
                answer({"error": str(error), "errno": number})
            return
        self._started(id_, pid, notice, forked=False)

    def _started(self, id_: str, pid: int, notice: str = "", *, forked: bool) -> None:
        request, process, answers = self._starting.pop(id_)
        process.started()
        process.record.note_start(pid, time.time(), forked=forked)
        self._records[id_] = process.record
        self._processes[id_] = process
        self._pids[pid] = id_
        for answer in answers:
            answer(
                {
                    "ok": process.record.to_json(),
                    "notice": notice,
                    "unlimited": request["unlimited"],
                }
            )
        early = self._early_exits.pop(pid, None)
        # A living process only shares its number with an orphan that ended long ago.
        if early is not None and not process.record.start_ticks:
            self._ended(id_, early)
        elif self._stopping is not None:
            self._stop({}, lambda _: None)

    def _signal(self, request: dict[str, Any], answer: Answer) -> None:
        id_ = str(request["id"])
        if id_ in self._processes:
            self._kill(id_, int(request["signal"]))
        answer({"ok": {}})

    def _input(self, request: dict[str, Any], answer: Answer) -> None:
        process = self._processes[str(request["id"])]
        if process.input is None:
            raise ValueError("the process has no input")
        process.input.put(base64.b64decode(request["content"]), lambda: answer({"ok": {}}))

    def _end_input(self, request: dict[str, Any], answer: Answer) -> None:
        process = self._processes.get(str(request["id"]))
        if process is not None and process.input is not None:
            process.input.end()
        answer({"ok": {}})

    def _resize(self, request: dict[str, Any], answer: Answer) -> None:
        process = self._processes[str(request["id"])]
        process.resize(int(request["columns"]), int(request["rows"]))
        answer({"ok": {}})

    def attach(self, connection: Connection, id_: str) -> None:
        if id_ not in self._processes:
            raise ValueError(f"{id_} does not run")

        def written(stream: str, content: bytes) -> None:
            text = base64.b64encode(content).decode()
            connection.send({"output": id_, "stream": stream, "content": text})

        process = self._processes[id_]
        process.watchers.append(written)
        self._attached.setdefault(connection, []).append((process, written))

    def detach(self, connection: Connection) -> None:
        for process, written in self._attached.pop(connection, ()):
            process.watchers.remove(written)

    def _forget(self, request: dict[str, Any], answer: Answer) -> None:
        id_ = str(request["id"])
        if id_ in self._processes or id_ in self._starting:
            raise ValueError(f"{id_} still runs")
        if id_ in self._records:
            self._records.pop(id_).forget()
        answer({"ok": {}})

    def _warm(self, request: dict[str, Any], answer: Answer) -> None:
        self._forkservers.of(str(request["module"]))
        answer({"ok": {}})

    def _stop(self, _: dict[str, Any], answer: Answer) -> None:
        before = self._stopping or {}
        self._stopping = before
        for id_, process in self._processes.items():
            if id_ not in before:
                self._kill(id_, signal.SIGTERM)
                before[id_] = time.monotonic() + process.record.grace_s
        answer({"ok": {}})

    def _kill(self, id_: str, number: int) -> None:
        try:
            os.killpg(self._records[id_].pid, number)
        except ProcessLookupError:
            return  # It has just ended; the kernel will say so.

    # Ends.

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            if pid in self._pids:
                # While the leader is a zombie its number cannot be another group's.
                self._kill(self._pids[pid], signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self._reaped(pid, status)

    def _reaped(self, pid: int, status: int) -> None:
        if pid in self._pids:
            self._ended(self._pids[pid], status)
            return
        if self._forkservers.ended(pid, status):
            return
        # Forked, and ended before the fork server could say its pid; or an orphan of a pod.
        self._early_exits[pid] = status
        while len(self._early_exits) > EARLY_EXITS_MAX:
            del self._early_exits[next(iter(self._early_exits))]

    def _ended(self, id_: str, status: int | None) -> None:
        process = self._processes.pop(id_)
        record = process.record
        self._pids.pop(record.pid, None)
        self._unwatched.discard(id_)
        if self._stopping is not None:
            self._stopping.pop(id_, None)
        process.close()
        record.oom_killed = self._leave_groups(record)
        exit_code = signal_number = None
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            exit_code, signal_number = (code, None) if code >= 0 else (128 - code, -code)
        try:
            record.note_exit(exit_code, signal_number, time.time())
        except OSError as error:  # A full disk, or none any more: who asks is told nevertheless.
            os.write(2, f"the end of {id_} is not recorded: {error}\n".encode())
        for connection in list(self.connections):
            connection.send({"exited": record.to_json()})

    def _leave_groups(self, record: Record) -> bool:
        """True: the kernel has killed in them for want of memory."""
        killed = self._groups.end(record.groups)
        self._untidy = self._groups.tidy()
        record.groups = []
        return killed

    # Adoption.

    def _adopt(self) -> None:
        """Takes over what a supervisor before this one has recorded."""
        this_boot = boot_id()
        for record in load(self._pods_dir):
            self._records[record.id] = record
            if record.finished_at:
                continue
            self._processes[record.id] = Process(record, self.selector)
            if record.is_alive(this_boot):
                record.adopted = True
                record.save()
                self._watch(record)
            else:
                self._ended(record.id, None)
        alive = (process.record for process in self._processes.values())
        self._groups.sweep([group for record in alive for group in record.groups])

    def _watch(self, record: Record) -> None:
        try:
            descriptor = os.pidfd_open(record.pid)
        except ProcessLookupError:
            self._ended(record.id, None)
            return
        except (OSError, AttributeError):
            self._unwatched.add(record.id)
            return

        def ended() -> None:
            self.selector.unregister(descriptor)
            os.close(descriptor)
            self._kill(record.id, signal.SIGKILL)
            self._ended(record.id, None)

        self.selector.register(descriptor, selectors.EVENT_READ, ended)
