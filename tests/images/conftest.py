from collections.abc import Iterator
from pathlib import Path

import pytest

from motorpool.images.store import ImageStore
from tests.images.small_registry import SmallRegistry, small_registry
from tests.registry import registry

__all__ = ["registry"]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def small() -> Iterator[SmallRegistry]:
    with small_registry() as running:
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model as OVMS wants it: a directory with version 1."""
    directory = tmp_path / "model"
    (directory / "1").mkdir(parents=True)
    (directory / "1" / "model.xml").write_text("<net/>")
    (directory / "1" / "model.bin").write_bytes(bytes(range(256)) * 300)
    return directory


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "no-auth.json"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
