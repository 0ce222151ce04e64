"""emptyDir volumes: in memory, and with a limit."""

from pathlib import Path

import pytest

from motorpool.node import emptydirs
from motorpool.node.volumes import clear_away
from tests.node.conftest import Platform, pod, shell, until


class NoImages:
    def owners(self) -> dict[str, list[str]]:
        return {}

    async def ensure(self, *_: object, **__: object) -> None:
        raise AssertionError("no image is asked for")

    def release(self, *_: object) -> None:
        raise AssertionError("no image is held")


def test_a_volume_in_memory_is_on_the_tmpfs_and_goes_with_its_pod(tmp_path: Path) -> None:
    pod_dir = tmp_path / "data" / "pods" / "u"
    made = emptydirs.make(pod_dir, "v", {"medium": "Memory"})
    assert made.parent == emptydirs.memory_directory(pod_dir)
    assert made.is_relative_to("/dev/shm")
    assert made.parent.parent.stat().st_mode & 0o777 == 0o700
    (made / "file").write_text("x")
    other = emptydirs.memory_directory(tmp_path / "other" / "pods" / "u")
    assert other != made.parent, "of another data directory"
    clear_away(NoImages(), "u", pod_dir)
    assert not made.parent.parent.exists()


def test_without_a_tmpfs_it_is_on_disk(tmp_path: Path) -> None:
    made = emptydirs.make(tmp_path / "u", "v", {"medium": "Memory"}, tmp_path / "none")
    assert made == tmp_path / "u" / "volumes" / "v"
    assert emptydirs.make(tmp_path / "u", "v", {}) == made, "and stays where it is"


def limited(size: str) -> dict[str, object]:
    return pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": size}}, {"name": "w"}])


def test_more_than_the_limit_evicts() -> None:
    assert emptydirs.size_limits(limited("1Mi")) == {"v": 1 << 20}
    assert emptydirs.exceeded(limited("1Mi"), {"v": 1 << 20}) is None
    verdict = emptydirs.exceeded(limited("1Mi"), {"v": (1 << 20) + 1})
    assert verdict is not None
    assert verdict.reason == "Evicted"
    assert verdict.message == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    assert emptydirs.size_limits(limited("0")) == {}


def test_what_is_allocated_counts(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * 100_000)
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert 100_000 <= emptydirs.used_bytes(tmp_path) < 1 << 20
    assert emptydirs.used_bytes(tmp_path / "gone") == 0


@pytest.mark.slow
async def test_a_pod_that_writes_too_much_is_evicted(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motorpool.node.starting.SIZES_PERIOD_S", 0.1)
    mounts = [{"name": "v", "mountPath": "/scratch"}]
    script = "echo here; sleep 0.3; head -c 3000000 /dev/zero > /scratch/much; sleep 60"
    volume = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    await platform.create(pod("web", shell(script, volumeMounts=mounts), volumes=[volume]))
    await platform.ready()
    await until(lambda: platform.status().get("phase") == "Failed")
    assert platform.status()["reason"] == "Evicted"
    assert "exceeds the limit" in platform.status()["message"]
    await platform.event("Evicted: Usage of EmptyDir volume")
    await until(lambda: "terminated" in platform.container()["state"])
    assert await platform.logs() == "here\n"
    await platform.delete()
