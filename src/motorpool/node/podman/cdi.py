"""Which kinds of devices have CDI specifications on this machine, as their vendors' tools write."""

import re
from pathlib import Path

DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
_KIND = re.compile(r"""(?:^|[{,\s"])kind"?\s*:\s*"?([A-Za-z0-9./_-]+)""", re.MULTILINE)


def specified_kinds(directories: tuple[Path, ...] = DIRECTORIES) -> frozenset[str]:
    """Such as ``nvidia.com/gpu``."""
    found = set()
    for directory in directories:
        for pattern in ("*.yaml", "*.json"):
            for path in directory.glob(pattern):
                try:
                    match = _KIND.search(path.read_text())
                except OSError:
                    continue  # It is being written anew.
                if match:
                    found.add(match[1])
    return frozenset(found)
