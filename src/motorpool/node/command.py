"""A container as a program of this machine: argv, environment, directory. Pure.

    env    the Services' (`servicelinks.py`), the machine's own, POD_IP and MOTORPOOL_POD_IP, thread
           counts where CPUs are limited, the table entry's, envFrom, env
    argv   the container's command or the table entry's, then the container's args
    both   $(VAR) expanded as Kubernetes does, then mount paths replaced by their directories

Rules: a mount path counts where it stands as whole path components, the longest first, and inside
``--flag=/mnt/models/1`` too. Expansion sees the paths as the user wrote them, so that nothing is
translated twice. How a program reaches the API is in `access.py`.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from motorpool.api.meta import Object, at
from motorpool.node.downward import FieldError, field_value, resource_value
from motorpool.node.limits import limits_of, thread_environment
from motorpool.node.localimages import LocalImage
from motorpool.node.supervisor.cgroups import NO_LIMITS, Limits

_VARIABLE = re.compile(r"\$(\$|\(([^()$\s]+)\))")
_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
TERMINAL = "xterm"  # what a program on a terminal is told where nothing else is said
EVERY_ADDRESS = frozenset({"0.0.0.0", "::", "[::]", "*", ""})


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork server calls instead of executing a program."""

    module: str
    argv: Sequence[str]


@dataclass(frozen=True, slots=True)
class Program:
    """What runs in one container."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"
    grace_s: float = 30.0
    fork: Fork | None = None
    stdin: bool = False  # somebody may attach to it
    tty: bool = False
    limits: Limits = NO_LIMITS
    groups: Sequence[str] = ()
    """The control groups that it enters; for what runs beside a container's own program."""


class ConfigError(Exception):
    """The container cannot be made: CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class Mount:
    path: str  # in the container
    directory: str  # on this machine; a file where subPath names one
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container's program depends on beside its own spec."""

    pod_ip: str
    host_ip: str
    python: str
    directory: str  # where it runs where nothing says otherwise
    base_env: Mapping[str, str] = field(default_factory=dict)
    config_maps: Mapping[str, Object] = field(default_factory=dict)
    secrets: Mapping[str, Object] = field(default_factory=dict)
    allocatable: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    grace_s: float = 30.0
    links: Mapping[str, str] = field(default_factory=dict)
    """The variables of Services; the first of *base_env* too."""


@dataclass(frozen=True, slots=True)
class References:
    """The names of what the environment is read from."""

    config_maps: frozenset[str]
    secrets: frozenset[str]


def references_of(container: Object) -> References:
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for source in container.get("envFrom") or ():
        config_maps.update(_names(source.get("configMapRef")))
        secrets.update(_names(source.get("secretRef")))
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        config_maps.update(_names(source.get("configMapKeyRef")))
        secrets.update(_names(source.get("secretKeyRef")))
    return References(frozenset(config_maps), frozenset(secrets))


def program(container: Object, pod: Object, entry: LocalImage, around: Surroundings) -> Program:
    """What to start for *container*. Raises ConfigError."""
    own = environment(container, pod, around)
    visible = {**_given(container, entry, around), **own}
    command = [expanded(part, visible) for part in container.get("command") or ()]
    args = [expanded(part, visible) for part in container.get("args") or ()]
    if not args and not command:
        args = list(entry.args)
    argv: list[str] = [part.replace("{python}", around.python) for part in entry.command]
    if entry.keep_command and command:
        argv = command
    if not argv and not args:
        raise ConfigError(
            "no command: the local images table keeps the container's own, and it has none"
        )
    args = [translated(part, around.mounts) for part in args] if entry.keep_args else []
    argv = [translated(part, around.mounts) if entry.keep_command else part for part in argv]
    if not (entry.keep_command and command) or entry.requires:
        args = bound(args, entry.bind_flags, around.pod_ip)
    fork = Fork(entry.fork, args) if entry.fork else None
    env, cwd = _place(container, entry, around, own)
    stdin, tty = bool(container.get("stdin")), bool(container.get("tty"))
    if tty:
        env.setdefault("TERM", TERMINAL)
    limits = limits_of(container)
    return Program([*argv, *args], env, cwd, around.grace_s, fork, stdin, tty, limits)


def program_beside(
    command: Sequence[str], container: Object, pod: Object, entry: LocalImage, around: Surroundings
) -> Program:
    """A command that runs where the container's own program does. Raises ConfigError."""
    own = environment(container, pod, around)
    env, cwd = _place(container, entry, around, own)
    argv = archived(command, around.mounts)
    return Program([translated(part, around.mounts) for part in argv], env, cwd)


def archived(command: Sequence[str], mounts: Sequence[Mount]) -> list[str]:
    """``tar cf - PATH`` such that the archive has the names that the user wrote.

    ``kubectl cp`` refuses an archive whose names do not begin with the path that it asked for.
    """
    argv = list(command)
    is_tar = bool(argv) and argv[0].rsplit("/", 1)[-1] == "tar"
    if not is_tar or len(argv) < 2 or "c" not in argv[1]:
        return argv
    named = {
        (mount.path, mount.directory)
        for mount in mounts
        if any(translated(part, [mount]) != part for part in argv[2:])
    }
    renamed = [
        f"--transform=s|^/\\?{re.escape(directory.strip('/'))}|{path.strip('/')}|S"
        for path, directory in sorted(named)
        if "|" not in path + directory
    ]
    return [*argv[:2], *argv[2:3], *renamed, *argv[3:]] if "f" in argv[1] else argv


def _given(container: Object, entry: LocalImage, around: Surroundings) -> dict[str, str]:
    """The environment below the container's own."""
    address = {"MOTORPOOL_POD_IP": around.pod_ip, "POD_IP": around.pod_ip}
    return {**around.base_env, **address, **thread_environment(container), **entry.env}


def _place(
    container: Object, entry: LocalImage, around: Surroundings, own: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """The environment and the directory of what runs in a container."""
    given = _given(container, entry, around)
    translations = {name: translated(value, around.mounts) for name, value in own.items()}
    working = expanded(container.get("workingDir") or "", {**given, **own})
    found = translated(working, around.mounts)
    return {**given, **translations}, found if found != working else around.directory


def environment(container: Object, pod: Object, around: Surroundings) -> dict[str, str]:
    """The container's own variables, expanded; mount paths as the user wrote them."""
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for name, value in _all_of(source, pod, around).items():
            if _NAME.match(prefix + name):
                env[prefix + name] = value
    for variable in container.get("env") or ():
        name = variable["name"]
        if "valueFrom" in variable:
            found = _value_from(variable["valueFrom"], container, pod, around)
            if found is not None:
                env[name] = found
        else:
            env[name] = expanded(variable.get("value") or "", {**around.base_env, **env})
    return env


def expanded(text: str, env: Mapping[str, str]) -> str:
    """``$(NAME)`` becomes its value, ``$$`` becomes ``$``; an unknown name stays as it is."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return env.get(match[2], match[0])

    return _VARIABLE.sub(value, text)


def translated(text: str, mounts: Sequence[Mount]) -> str:
    """*text* with every mount path replaced by its directory."""
    directories = {mount.path.rstrip("/"): mount.directory for mount in mounts}
    paths = sorted((path for path in directories if path), key=len, reverse=True)
    if not paths or "/" not in text:
        return text
    alternatives = "|".join(re.escape(path) for path in paths)
    pattern = rf"(?<![\w./-])({alternatives})(?![\w.-])"
    return re.sub(pattern, lambda match: directories[match[1]], text)


def bound(args: Sequence[str], flags: Sequence[str], pod_ip: str) -> list[str]:
    """*args* with each of *flags* at the Pod's address; one that names another address stays."""
    result = list(args)
    for flag in flags:
        given = False
        for number, arg in enumerate(result):
            name, equals, value = arg.partition("=")
            if name != flag:
                continue
            given = True
            if equals:
                result[number] = f"{flag}={_address(value, pod_ip)}"
            elif number + 1 < len(result):
                result[number + 1] = _address(result[number + 1], pod_ip)
        if not given:
            result.append(f"{flag}={pod_ip}")
    return result


def _address(value: str, pod_ip: str) -> str:
    return pod_ip if any(part.strip() in EVERY_ADDRESS for part in value.split(",")) else value


def _names(reference: Object | None) -> list[str]:
    return [reference["name"]] if reference and reference.get("name") else []


def _all_of(source: Object, pod: Object, around: Surroundings) -> dict[str, str]:
    reference = source.get("configMapRef") or {}
    if reference:
        found = _object(around.config_maps, reference, "configmap")
        return {str(k): str(v) for k, v in ((found or {}).get("data") or {}).items()}
    reference = source.get("secretRef") or {}
    found = _object(around.secrets, reference, "secret")
    data = (found or {}).get("data") or {}
    return {str(key): secret_value(value).decode(errors="replace") for key, value in data.items()}


def _object(objects: Mapping[str, Object], reference: Object, kind: str) -> Object | None:
    name = reference.get("name", "")
    if name not in objects and not reference.get("optional"):
        raise ConfigError(f'{kind} "{name}" not found')
    return objects.get(name)


def _value_from(
    source: Object, container: Object, pod: Object, around: Surroundings
) -> str | None:  # fmt: skip
    try:
        if "fieldRef" in source:
            path = source["fieldRef"]["fieldPath"]
            return field_value(pod, path, pod_ip=around.pod_ip, host_ip=around.host_ip)
        if "resourceFieldRef" in source:
            return resource_value(container, source["resourceFieldRef"], around.allocatable)
    except FieldError as error:
        raise ConfigError(str(error)) from None
    if "configMapKeyRef" in source:
        reference = source["configMapKeyRef"]
        found = _object(around.config_maps, reference, "configmap")
        value = at(found, "data", reference["key"])
        return _present(value, reference, pod, "ConfigMap")
    if "secretKeyRef" in source:
        reference = source["secretKeyRef"]
        found = _object(around.secrets, reference, "secret")
        value = at(found, "data", reference["key"])
        decoded = None if value is None else secret_value(value).decode(errors="replace")
        return _present(decoded, reference, pod, "Secret")
    raise ConfigError(f"unsupported valueFrom: {', '.join(source) or 'empty'}")


def _present(value: str | None, reference: Object, pod: Object, kind: str) -> str | None:
    if value is None and not reference.get("optional"):
        where = f"{pod['metadata'].get('namespace', '')}/{reference.get('name', '')}"
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {where}")
    return None if value is None else str(value)


def secret_value(text: str) -> bytes:
    """The bytes of one entry of a Secret's ``data``."""
    return base64.b64decode(text)
