"""What has happened to a Pod on this machine, and how it changes. Pure values.

Times are seconds since the epoch. A *run* is one start of a container; the number of the current
run is its restartCount.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from motorpool.api.meta import Object
from motorpool.base.backoff import Backoff

CRASH_BACKOFF = Backoff(first_s=10.0, most_s=300.0)
CRASH_FORGIVEN_S = 600.0
IMAGE_BACKOFF = Backoff(first_s=10.0, most_s=300.0)
PROBLEM_BACKOFF = Backoff(first_s=1.0, most_s=30.0)

IMAGE_REASONS = frozenset({"ErrImagePull", "InvalidImageName"})
UNKNOWN_EXIT_CODE = 137

Phase: TypeAlias = Literal["absent", "pulling", "starting", "running", "exited", "failed"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one container, as the supervisor knows it."""

    id: str  # UID/CONTAINER/N
    pid: int
    started_at: float
    finished_at: float  # 0 while it runs
    exit_code: int | None  # None with finished_at: how it ended is not known
    signal: int | None
    forked: bool
    oom_killed: bool = False  # the kernel has killed in it for want of memory
    groups: tuple[str, ...] = ()  # the directories of its control groups
    words: str = ""
    """The end of its log, where it failed and the container asks for that as its message."""

    @property
    def pod_uid(self) -> str:
        return self.id.split("/")[0]

    @property
    def container(self) -> str:
        return self.id.split("/")[1]

    @property
    def number(self) -> int:
        return int(self.id.split("/")[2])


def run_id(uid: str, container: str, run: int) -> str:
    return f"{uid}/{container}/{run}"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended."""

    run: int
    code: int
    signal: int | None
    reason: str
    message: str
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something could not be made ready; it is tried again."""

    reason: str
    message: str
    at: float
    attempts: int
    image: str = ""

    @property
    def is_about_image(self) -> bool:
        return self.reason in IMAGE_REASONS

    @property
    def retry_at(self) -> float:
        backoff = IMAGE_BACKOFF if self.is_about_image else PROBLEM_BACKOFF
        return self.at + backoff.delay_s(self.attempts)


@dataclass(frozen=True, slots=True)
class Stopping:
    since: float
    grace_s: float
    killed: bool = False
    to_change: bool = False  # its image is another now: it starts again, whatever its policy


@dataclass(frozen=True, slots=True)
class Seen:
    """One container."""

    phase: Phase = "absent"
    run: int = 0
    started_at: float = 0.0
    exit: Exit | None = None  # of this run, when phase is "exited"
    last: Exit | None = None  # of the run before
    problem: Problem | None = None  # when phase is "failed"
    crashes: int = 0  # ends in a row, for the back-off
    stopping: Stopping | None = None
    started: bool = False  # the startup probe has passed, or there is none
    ready: bool = False
    unhealthy: str = ""  # which probe wants it restarted: "liveness", "startup" or ""
    image: str = ""  # as its spec had it when the run began
    image_id: str = ""
    changes: bool = False  # it was ended to start with another image

    @property
    def restart_at(self) -> float:
        """When an exited container may start again: at once after its first end."""
        if self.changes:
            return 0.0
        ended = self.exit.finished_at if self.exit else 0.0
        return ended + CRASH_BACKOFF.delay_s(self.crashes - 1)

    @property
    def back_off_s(self) -> float:
        return CRASH_BACKOFF.delay_s(self.crashes - 1)


@dataclass(frozen=True, slots=True)
class Volumes:
    phase: Literal["absent", "preparing", "ready", "failed"] = "absent"
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the whole Pod was ended here, whatever its containers do: it has failed for good."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class PodSeen:
    containers: Mapping[str, Seen] = field(default_factory=dict)
    volumes: Volumes = field(default_factory=Volumes)
    verdict: Verdict | None = None

    def of(self, name: str) -> Seen:
        return self.containers.get(name, Seen())

    def with_container(self, name: str, seen: Seen) -> "PodSeen":
        return replace(self, containers={**self.containers, name: seen})


def starting(seen: Seen, image: str = "") -> Seen:
    """A new run begins."""
    run = seen.run + 1 if seen.phase == "exited" else seen.run
    last = seen.exit if seen.phase == "exited" else seen.last
    return replace(
        seen, phase="starting", run=run, last=last, exit=None,
        stopping=None, started=False, ready=False, unhealthy="", image=image, changes=False,
    )  # fmt: skip


def running(seen: Seen, started_at: float, *, has_startup: bool, has_readiness: bool) -> Seen:
    started = not has_startup
    ready = started and not has_readiness
    return replace(
        seen, phase="running", started_at=started_at, problem=None, started=started, ready=ready
    )


def failed(seen: Seen, reason: str, message: str, at: float, image: str = "") -> Seen:
    attempts = seen.problem.attempts + 1 if seen.problem else 1
    problem = Problem(reason, message, at, attempts, image)
    return replace(seen, phase="failed", problem=problem, started=False, ready=False)


def exited(
    seen: Seen,
    code: int | None,
    signal: int | None,
    started_at: float,
    finished_at: float,
    message: str = "",
    *,
    oom_killed: bool = False,
) -> Seen:
    """*code* None: it ran under a supervisor that is gone, and how it ended is not known."""
    if oom_killed and code != 0:
        code, reason = UNKNOWN_EXIT_CODE if code is None else code, "OOMKilled"
    elif code is None:
        code, reason = UNKNOWN_EXIT_CODE, "ContainerStatusUnknown"
        message = "The process has ended while nobody could take note of its exit code"
    else:
        reason = "Completed" if code == 0 else "Error"
    lasted_s = finished_at - started_at
    crashes = 1 if lasted_s >= CRASH_FORGIVEN_S else seen.crashes + 1
    changes = seen.stopping is not None and seen.stopping.to_change
    if changes:
        crashes = 0
    end = Exit(seen.run, code, signal, reason, message, started_at, finished_at)
    return replace(
        seen, phase="exited", exit=end, crashes=crashes, started=False, ready=False, unhealthy="",
        stopping=None, started_at=started_at, problem=None, changes=changes,
    )  # fmt: skip


def ended(seen: Seen, run: Run) -> Seen:
    """What a run that is over leaves."""
    return exited(
        seen, run.exit_code, run.signal, run.started_at, run.finished_at, message=run.words,
        oom_killed=run.oom_killed,
    )  # fmt: skip


def adopted(runs: Sequence[Run], status: Object, *, has_startup: bool) -> Seen:
    """What an agent before this one left: its runs, oldest first, and the status it wrote.

    Whether it was ready is taken from the status, so that nothing flips because we came anew.
    """
    *before, current = runs
    last = _end_of(before[-1]) if before else None
    # How many crashes came in a row is not recorded. What ended by a signal or unseen was most
    # likely ended with the platform, and is no reason to hold its next start back.
    crashed = last is not None and (
        last.reason == "OOMKilled" or (last.signal is None and last.reason == "Error")
    )
    seen = Seen(
        phase="starting", run=current.number, last=last, crashes=current.number if crashed else 0,
        image=str(status.get("image") or ""), image_id=str(status.get("imageID") or ""),
    )  # fmt: skip
    if current.finished_at:
        return ended(seen, current)
    same = status.get("restartCount") == current.number
    started = bool(status.get("started")) and same
    return replace(
        running(seen, current.started_at, has_startup=has_startup, has_readiness=True),
        started=started or not has_startup,
        ready=bool(status.get("ready")) and same,
    )


def verdict_of(pod: Object) -> Verdict | None:
    """Why an agent before this one has ended the whole Pod, if it has."""
    status = pod.get("status") or {}
    if status.get("phase") != "Failed" or not status.get("reason"):
        return None
    return Verdict(str(status["reason"]), str(status.get("message") or ""))


def status_of(pod: Object, container: str) -> Object:
    """The container's entry in the Pod's status, or {}."""
    status = pod.get("status") or {}
    for field_name in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(field_name) or ():
            if entry.get("name") == container:
                return dict(entry)
    return {}


def _end_of(run: Run) -> Exit | None:
    if not run.finished_at:
        return None
    return ended(Seen(run=run.number), run).exit
