from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

# How long one example takes says how busy the machine is, not whether the code is right.
settings.register_profile("motorpool", deadline=None)
settings.load_profile("motorpool")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite *.out.yaml")


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
