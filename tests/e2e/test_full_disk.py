"""A disk that fills up under a platform: a real one, of 64 MiB."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import Platform, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk"),
]

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "late"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": "shell", "command": ["sleep", "100"]}],
    },
}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "small", str(disk)])
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    platform = Platform(disk / "data")
    try:
        platform.data_dir.mkdir()
        (platform.data_dir / "local-images.yaml").write_text(
            "images:\n- match: [shell]\n  keepCommand: true\n"
        )
        platform.start()
        yield platform
    finally:
        (disk / "filler").unlink(missing_ok=True)
        platform.stop()
        subprocess.run(["umount", str(disk)], check=True)


def test_it_is_told_on_the_node_and_passes_when_there_is_room(
    platform: Platform, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "m").write_bytes(os.urandom(8 << 20))
    built = platform.run("modelcar", "build", str(model), "-t", "localhost/model:1")
    assert built.returncode == 0, built.stderr
    eventually(lambda: "KubeletHasNoDiskPressure" in platform.kubectl("describe", "node"))
    filler = tmp_path / "disk" / "filler"
    free = os.statvfs(filler.parent)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - (3 << 20)))

    described = eventually(
        lambda: "DiskPressure     True" in (text := platform.kubectl("describe", "node")) and text
    )
    assert "node.kubernetes.io/disk-pressure:NoSchedule" in described
    assert "MiB are free where" in described
    for reason in ("NodeHasDiskPressure", "ImageGCFailed"):
        eventually(lambda reason=reason: reason in platform.kubectl("describe", "node"))
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(POD))
    eventually(
        lambda: (
            "had untolerated taint {node.kubernetes.io/disk-pressure: }"
            in platform.kubectl("describe", "pod", "late")
        )
    )

    # What does not fit leaves nothing behind, and what is there stays whole.
    (model / "m").write_bytes(os.urandom(8 << 20))
    again = platform.run("modelcar", "build", str(model), "-t", "localhost/model:2")
    assert "No space left on device" in again.stderr
    listed = platform.run("modelcar", "ls").stdout
    assert "localhost/model:1" in listed
    assert "localhost/model:2" not in listed

    # Not one byte more: writes are refused in words, reads go on.
    with filler.open("ab", buffering=0) as rest, contextlib.suppress(OSError):
        while rest.write(bytes(4096)) == 4096:
            pass
    (tmp_path / "big").write_text(os.urandom(200_000).hex())
    create = ("create", "configmap", f"--from-file={tmp_path / 'big'}")
    said = (platform.kubectl(*create, f"big-{n}", check=False) for n in range(30))
    assert any("no space left for" in text and "free some" in text for text in said)
    assert "late" in platform.kubectl("get", "pods")

    # It can be ended, and is then told what keeps it from starting.
    down = platform.run("down")
    assert down.returncode == 0, down.stderr
    assert "control plane" in down.stdout
    assert platform.process is not None
    platform.process.wait()
    up = platform.run("up")
    assert "No space left on device" in up.stderr
    assert "Traceback" not in up.stderr

    filler.unlink()
    platform.start()
    platform.kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=40s")
    described = platform.kubectl("describe", "node")
    assert "DiskPressure     False" in described
    assert "disk-pressure:NoSchedule" not in described
    assert platform.run("modelcar", "build", str(model), "-t", "localhost/model:2").returncode == 0
