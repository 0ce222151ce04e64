from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

# How long one example takes says how busy the machine is, not whether the code is right.
settings.register_profile("motorpool", deadline=None)
settings.load_profile("motorpool")

# Directories whose tests share what only one process can have: a platform, podman's storage.
TOGETHER = ("tests/podman/", "tests/streams/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite *.out.yaml")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With --dist loadfile: what one process does in turn is a file, or a directory of those."""
    from xdist.scheduler import LoadFileScheduling

    class ByGroup(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByGroup(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, what has the most slow tests begins first: it ends last."""
    if not hasattr(config, "workerinput"):
        return
    slow = Counter(_group(item.nodeid) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[_group(item.nodeid)])


def _group(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return next((each for each in TOGETHER if file.startswith(each)), file)


class Golden:
    """Compares documents with a file that a person has read and agreed to."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def check(self, path: Path, documents: list[dict[str, Any]]) -> None:
        text = yaml.safe_dump_all(documents, sort_keys=False)
        if self.update:
            path.write_text(text)
        assert text == path.read_text(), f"run pytest --update-golden and review {path.name}"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.config.getoption("--update-golden"))
