"""Credentials from the files that podman and docker write, and what registries ask for.

Only plain ``auths`` entries are read: a credential helper is a program, and pulling a model does
not run programs. The files are not opened before a registry has asked.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motorpool.images.errors import ImageError
from motorpool.images.reference import DOCKER_HUB, Reference

_PARAMETER = re.compile(r'([a-zA-Z]+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Challenge:
    scheme: str  # "bearer" or "basic", lower case
    parameters: dict[str, str]


def parse_challenge(header: str) -> Challenge:
    scheme, _, rest = header.strip().partition(" ")
    found = {m[1].lower(): m[2] if m[2] is not None else m[3] for m in _PARAMETER.finditer(rest)}
    return Challenge(scheme.lower(), found)


def auth_files(environment: Mapping[str, str], home: Path) -> list[Path]:
    """Where credentials may stand, in the order in which podman looks."""
    named = environment.get("REGISTRY_AUTH_FILE")
    if named:
        return [Path(named)]
    runtime = environment.get("XDG_RUNTIME_DIR")
    docker = environment.get("DOCKER_CONFIG")
    return [
        *([Path(runtime) / "containers" / "auth.json"] if runtime else []),
        (Path(docker) if docker else home / ".docker") / "config.json",
    ]


def find_credentials(files: list[Path], reference: Reference) -> Credentials | None:
    """The entry that fits *reference* best. Raises ImageError for a file that cannot be read."""
    for file in files:
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ImageError(f"cannot read the credentials in {file}: {error.strerror}") from error
        try:
            found = match(json.loads(raw), reference)
        except (ValueError, AttributeError, TypeError) as error:
            raise ImageError(f"{file} is not a file of credentials; log in anew") from error
        if found:
            return found
    return None


def match(document: dict[str, Any], reference: Reference) -> Credentials | None:
    """The longest key that is the repository or a parent of it, down to the host."""
    auths = document.get("auths") or {}
    path = f"{reference.registry}/{reference.repository}"
    while path:
        keys = [path]
        if "/" not in path:
            keys += [
                f"https://{path}",
                f"https://{path}/",
                f"https://{path}/v1/",
                f"https://{path}/v2/",
            ]
            if path == DOCKER_HUB:
                keys += ["https://index.docker.io/v1/", "index.docker.io"]
        for key in keys:
            found = _credentials(auths.get(key))
            if found:
                return found
        path = path.rpartition("/")[0]
    return None


def _credentials(entry: dict[str, Any] | None) -> Credentials | None:
    if not entry:
        return None
    if entry.get("auth"):
        try:
            text = base64.b64decode(entry["auth"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError("auth is not base64") from error
        user, _, password = text.partition(":")
        return Credentials(user, password.rstrip("\0"))
    if entry.get("username"):
        return Credentials(entry["username"], entry.get("password", ""))
    return None
