"""What this machine keeps podman from doing, and the settings that work around it.

    `facts_of_machine` reads -> `restrictions` decides (pure) -> settings of containers.conf, words

Known from restricted machines, each told with its consequence:
  1. root without CAP_SYS_RESOURCE may not raise limits, and podman's defaults are above them;
  2. crun refuses control groups of version 1 beside a version 2 that has controllers: runc runs;
  3. control groups that may not be written: containers run without limits, which only crun can;
  4. no netavark and no CNI plugins, no iptables, or no root: a Pod has no address of its own on
     this machine, and its ports are published at a loopback address instead.
"""

import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CAP_SYS_RESOURCE = 24
NOFILE_MOST = NPROC_MOST = 1_048_576
HELPER_DIRECTORIES = (
    "/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman",
)  # fmt: skip
CNI_DIRECTORIES = ("/usr/local/libexec/cni", "/usr/libexec/cni", "/usr/local/lib/cni",
                   "/usr/lib/cni", "/opt/cni/bin")  # fmt: skip

Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Facts:
    is_root: bool
    may_raise_limits: bool
    nofile: int
    nproc: int
    is_hybrid: bool
    """Control groups of version 1, beside a version 2 that has controllers."""
    groups_writable: bool
    programs: frozenset[str]
    """Which of the helpers of `PROGRAMS` are there."""
    runtime: str = ""
    """The one that the user's containers.conf names."""


@dataclass(frozen=True, slots=True)
class Restrictions:
    settings: Settings = field(default_factory=dict)
    words: Sequence[str] = ()
    limits: bool = True
    bridge: bool = True

    @property
    def needs_own_service(self) -> bool:
        return bool(self.settings)


PROGRAMS = ("crun", "runc", "netavark", "bridge", "iptables", "nft", "slirp4netns")


def restrictions(facts: Facts) -> Restrictions:
    containers: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    words: list[str] = []
    if facts.is_root and not facts.may_raise_limits:
        nofile, nproc = min(NOFILE_MOST, facts.nofile), min(NPROC_MOST, facts.nproc)
        containers["default_ulimits"] = [f"nofile={nofile}:{nofile}", f"nproc={nproc}:{nproc}"]
        words.append(
            "this process may not raise resource limits (no CAP_SYS_RESOURCE): containers get its "
            f"own, {nofile} open files and {nproc} processes"
        )
    default = facts.runtime or ("crun" if "crun" in facts.programs else "runc")
    runtime, told = _runtime(facts, default)
    words += told
    if runtime != default:
        engine["runtime"] = runtime
    if not facts.groups_writable:
        containers["cgroups"] = "disabled"
    bridge = _can_bridge(facts)
    if not bridge:
        words.append(
            f"{_why_no_bridge(facts)}: pods have loopback addresses, at which only the ports that "
            "their specs name are reached"
        )
    settings = {name: table for name, table in
                (("containers", containers), ("engine", engine)) if table}  # fmt: skip
    return Restrictions(settings, tuple(words), facts.groups_writable, bridge)


def _runtime(facts: Facts, default: str) -> tuple[str, list[str]]:
    """The one that works here, and why it is that one or none."""
    if not facts.groups_writable:
        words = ["control groups cannot be written: limits of containers are not enforced"]
        if facts.is_hybrid or "crun" not in facts.programs:
            words.append(
                "only crun runs containers without control groups, and it "
                + ("refuses this machine's hybrid ones" if facts.is_hybrid else "is not installed")
                + ": containers will not start"
            )
        return "crun", words
    if not facts.is_hybrid or default != "crun":
        return default, []
    if "runc" in facts.programs:
        return "runc", ["crun refuses this machine's hybrid control groups: runc is used"]
    why = "crun refuses this machine's hybrid control groups and containers will not start"
    return "crun", [f"{why}: install runc"]


def _can_bridge(facts: Facts) -> bool:
    has_backend = bool({"netavark", "bridge"} & facts.programs)
    return facts.is_root and has_backend and bool({"iptables", "nft"} & facts.programs)


def _why_no_bridge(facts: Facts) -> str:
    if not facts.is_root:
        return "podman runs without root"
    if not {"netavark", "bridge"} & facts.programs:
        return "neither netavark nor the CNI plugins are installed"
    return "neither iptables nor nft is installed"


# Reading


def facts_of_machine(runtime: str = "") -> Facts:
    """What the decision rests on."""
    soft_hard = resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(
        resource.RLIMIT_NPROC
    )  # fmt: skip
    nofile, nproc = (_bounded(hard) for _, hard in soft_hard)
    return Facts(
        is_root=os.geteuid() == 0,
        may_raise_limits=_has_capability(CAP_SYS_RESOURCE),
        nofile=nofile,
        # podman lowers its own limit to the number of pids that there can be.
        nproc=min(nproc, int(_read("/proc/sys/kernel/pid_max") or NPROC_MOST)),
        is_hybrid=bool(_read("/sys/fs/cgroup/unified/cgroup.controllers").strip()),
        groups_writable=os.geteuid() != 0 or _groups_writable(),
        programs=frozenset(name for name in PROGRAMS if _find(name)),
        runtime=runtime,
    )


def _bounded(limit: int) -> int:
    return NOFILE_MOST if limit == resource.RLIM_INFINITY else limit


def _has_capability(number: int) -> bool:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return True


def _groups_writable() -> bool:
    """Tried where podman makes its groups; without root podman knows by itself."""
    root = Path("/sys/fs/cgroup")
    top = root if (root / "cgroup.controllers").exists() else root / "memory"
    group = top / f"motorpool-probe-{os.getpid()}"
    try:
        group.mkdir()
        group.rmdir()
    except OSError:
        return False
    return True


def _find(name: str) -> str | None:
    directories = {"netavark": HELPER_DIRECTORIES, "bridge": CNI_DIRECTORIES}.get(name, ())
    for directory in directories:
        if os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    if name == "bridge":
        return None  # Some have a program of that name that is no plugin.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    return shutil.which(name, path=path)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


# containers.conf


def merged(base: Settings, over: Mapping[str, Mapping[str, Any]]) -> Settings:
    """*base* with the tables of *over*, key by key."""
    result = {name: dict(table) for name, table in base.items()}
    for name, table in over.items():
        result.setdefault(name, {}).update(table)
    return result


def toml_of(settings: Mapping[str, Any], prefix: str = "") -> str:
    """As much of TOML as containers.conf has: tables, texts, numbers, lists."""
    lines, tables = [], []
    for name, value in settings.items():
        key = name if name.replace("_", "").replace("-", "").isalnum() else _text(name)
        if isinstance(value, Mapping):
            path = f"{prefix}.{key}" if prefix else key
            tables.append(f"[{path}]\n{toml_of(value, path)}")
        else:
            lines.append(f"{key} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return _text(str(value))


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
