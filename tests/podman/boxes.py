"""Podman with a storage of its own, and an image made from scratch of Debian's static busybox."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import program

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{0}/graph"
runroot = "{0}/run"
"""
BOX = """
FROM scratch
COPY rootfs /
ENV FROM_IMAGE=yes
CMD ["/bin/sh", "-c", "echo the command of the image"]
"""


def podman(*words: str, check: bool = True) -> str:
    done = subprocess.run(
        [program("podman"), *words], text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


@contextlib.contextmanager
def own_storage() -> Iterator[None]:
    """For this process and what it starts; not where pytest would clear it away."""
    program("podman")
    directory = Path(tempfile.mkdtemp(prefix="motorpool-podman-"))
    (directory / "storage.conf").write_text(STORAGE.format(directory))
    (directory / "no-auth.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(directory / "storage.conf"))
        patch.setenv("REGISTRY_AUTH_FILE", str(directory / "no-auth.json"))
        try:
            yield
        finally:
            podman("rm", "-fa", "-t", "0", check=False)
            podman("rmi", "-fa", check=False)
            # Podman mounts it upon itself, and leaves it so.
            mounted = f"{directory}/graph/overlay"
            subprocess.run(["umount", "-l", mounted], capture_output=True, check=False)
            shutil.rmtree(directory)


def build(directory: Path) -> str:
    """The image's name; it has a link for each of busybox's commands."""
    busybox = program("busybox")
    rootfs = directory / "rootfs"
    for name in ("bin", "tmp", "etc", "data", "www"):
        (rootfs / name).mkdir(parents=True)
    (rootfs / "tmp").chmod(0o1777)
    (rootfs / "bin/busybox").write_bytes(Path(busybox).read_bytes())
    (rootfs / "bin/busybox").chmod(0o755)
    (rootfs / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nme:x:1000:1000::/tmp:/bin/sh\n")
    listed = subprocess.run([busybox, "--list"], text=True, capture_output=True, check=True)
    for name in listed.stdout.split():
        if name != "busybox":
            (rootfs / "bin" / name).symlink_to("busybox")
    (directory / "Containerfile").write_text(BOX)
    podman("build", "-q", "-t", "localhost/box:1", "-f", str(directory / "Containerfile"),
           str(directory))  # fmt: skip
    return "localhost/box:1"
