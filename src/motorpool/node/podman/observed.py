"""What libpod says of a container, as a run. Pure."""

import re
from datetime import datetime

from motorpool.api.meta import Object, at
from motorpool.node.podman.spec import LABEL_RUN
from motorpool.node.seen import Run

RUNNING = frozenset({"running", "stopping", "paused"})
OVER = frozenset({"exited", "stopped", "removing"})
_FRACTION = re.compile(r"(\.\d{6})\d+")
_NOT_FOUND = "OCI runtime attempted to invoke a command that was not found"


def run_of(inspected: Object) -> Run | None:
    """None for one that has not begun: it was made, and nobody came to start it.

    One that began and is neither running nor over has been forgotten by podman itself: this machine
    has started anew. How it ended is not known.
    """
    state = inspected["State"]
    status = str(state.get("Status"))
    started_at, finished_at = moment(state.get("StartedAt")), moment(state.get("FinishedAt"))
    code: int | None = None
    if status in RUNNING:
        finished_at = 0.0
    elif not started_at:
        return None
    elif status in OVER:
        code = int(state.get("ExitCode") or 0)
        finished_at = finished_at or started_at
    else:
        finished_at = max(finished_at, started_at)
    return Run(
        id=str(at(inspected, "Config", "Labels", LABEL_RUN)),
        pid=int(state.get("Pid") or 0),
        started_at=started_at,
        finished_at=finished_at,
        exit_code=code if code is None or code >= 0 else 255,
        signal=None,
        forked=False,
        oom_killed=bool(state.get("OOMKilled")),
    )


def moment(text: object) -> float:
    """Seconds since the epoch; 0 for Go's zero time."""
    if not text or str(text).startswith("0001-"):
        return 0.0
    return datetime.fromisoformat(_FRACTION.sub(r"\1", str(text))).timestamp()


def address_of(infra: Object) -> str:
    """The Pod's address, from the container that holds its network; "" where it has none."""
    networks = at(infra, "NetworkSettings", "Networks", default=None) or {}
    for network in networks.values():
        if network.get("IPAddress"):
            return str(network["IPAddress"])
    return str(at(infra, "NetworkSettings", "IPAddress", default=""))


def is_start_error(message: str) -> bool:
    """Whether the program cannot be executed, rather than the container not be made."""
    pattern = r'exec: "[^"]*": |executable file|open executable|exec format error'
    return re.search(pattern, message) is not None


def start_words(message: str) -> str:
    """The part of an error of the runtime that says what is wrong."""
    words = message.removesuffix(f": {_NOT_FOUND}")
    return words.removesuffix(": OCI permission denied")


def is_network_error(message: str) -> bool:
    """Whether a Pod's network could not be made."""
    return re.search(r"netavark|aardvark|iptables|nft|CNI|plugin type=", message) is not None


def oom_kills(text: str) -> int:
    """How often the kernel has killed, from ``memory.events`` or ``memory.oom_control``."""
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0
