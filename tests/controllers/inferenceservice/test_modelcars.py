"""What runs in a ModelCar, in a real shell."""

import asyncio
import os
import shlex
import signal

import pytest

from motorpool.controllers.inferenceservice.config import Config
from motorpool.controllers.inferenceservice.locations import Location
from motorpool.controllers.inferenceservice.modelcars import modelcars


def script_of(container, **places):
    """What the container's shell gets: Kubernetes has written $ for $$."""
    (script,) = container["args"]
    for place, path in places.items():
        script = script.replace(f"/{place}", str(path))
    return script.replace("$$", "$")


async def started(script):
    return await asyncio.create_subprocess_exec("sh", "-c", script, start_new_session=True)


async def linked(path, pid):
    async with asyncio.timeout(30):
        while not (path.is_symlink() and str(path.readlink()) == f"/proc/{pid}/root/models"):
            await asyncio.sleep(0.005)


async def test_the_link_is_made_anew_at_every_start_of_the_sidecar(tmp_path):
    (car,) = modelcars([Location("oci://a/b:1", "/mnt/m/one")], Config()).containers
    script, link = script_of(car, mnt=tmp_path / "mnt"), tmp_path / "mnt/m/one"
    before = tmp_path / "of a former life"
    before.mkdir()
    for target in (None, "/proc/1/gone", before):
        if target is not None:
            link.unlink()
            link.symlink_to(target)
        process = await started(script)
        await linked(link, process.pid)
        os.killpg(process.pid, signal.SIGKILL)  # what it waits for, too
        await process.wait()
    assert list(before.iterdir()) == [], "nor is it made inside what the old link leads to"


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
async def test_an_image_without_a_model_is_said_before_the_server_starts(tmp_path, holds, code):
    if holds:
        (tmp_path / "model.onnx").touch()
    (check,) = modelcars([Location("oci://a/b:1")], Config()).init_containers
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script_of(check, models=tmp_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complained = await process.communicate()
    assert process.returncode == code
    assert b"holds a model" in said if holds else b"a/b:1 holds nothing" in complained


async def test_nothing_that_a_user_wrote_is_read_as_a_command(tmp_path):
    hostile = f"/mnt/m/a; touch {tmp_path}/owned"
    (car,) = modelcars([Location("oci://a/b:1", hostile)], Config()).containers
    words = shlex.split(car["args"][0])
    assert hostile in words
