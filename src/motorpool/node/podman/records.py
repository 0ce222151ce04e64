"""How runs have ended, kept by us: ``pods/UID/run/CONTAINER.N.ended``.

A container that podman has forgotten (it was removed, or pruned) must not run a second time for
that. A record is written before anybody is told, and removed when the run is forgotten.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import structlog

from motorpool.base.atomicfile import write_atomically
from motorpool.node.seen import Run

log = structlog.get_logger(__name__)


def path_of(data_dir: Path, id_: str) -> Path:
    uid, container, number = id_.split("/")
    return data_dir / "pods" / uid / "run" / f"{container}.{number}.ended"


def write(data_dir: Path, run: Run) -> None:
    path = path_of(data_dir, run.id)
    if path.parent.is_dir():
        content = asdict(replace(run, words=""))
        write_atomically(path, json.dumps(content).encode(), sync=False)


def forget(data_dir: Path, id_: str) -> None:
    path_of(data_dir, id_).unlink(missing_ok=True)


def find(data_dir: Path, id_: str) -> Run | None:
    return _read(path_of(data_dir, id_))


def load(data_dir: Path) -> dict[str, Run]:
    """All there are."""
    runs = [_read(path) for path in (data_dir / "pods").glob("*/run/*.ended")]
    return {run.id: run for run in runs if run is not None}


def _read(path: Path) -> Run | None:
    try:
        return Run(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        log.warning("unreadable record", path=str(path), error=str(error))
        return None
