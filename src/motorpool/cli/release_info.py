"""`motorpool release-info`: the images behind the shipped runtimes, as MicroShift tells them."""

import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from motorpool.cli.console import fail

RELEASE = "usr/share/microshift/release"
MANIFESTS = "usr/lib/microshift/manifests.d"
RUNTIMES = f"{MANIFESTS}/050-microshift-ai-model-serving-runtimes"
OLD = f"{MANIFESTS}/001-microshift-ai-model-serving"
FILE_NAMES = {"kserve-ovms": "ovms-kserve"}
"""What MicroShift calls a file otherwise than its runtime."""


@click.command("release-info", epilog="Example:  motorpool release-info | jq -r '.images[]'")
@click.option(
    "--write", "root", metavar="ROOT", type=click.Path(file_okay=False, path_type=Path),
    help="Write the files of MicroShift's packages below ROOT: /usr/share/microshift/release and "
    "/usr/lib/microshift/manifests.d, as its guide reads them.",
)  # fmt: skip
def release_info(root: Path | None) -> None:
    """Print which image each placeholder of the shipped runtimes stands for, as JSON."""
    from motorpool.controllers.servingruntime import release

    info = json.dumps(release.release_info(), indent=2)
    if root is None:
        click.echo(info)
        return
    files = dict(_files(info + "\n"))
    try:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        _link(root / OLD / "runtimes", root / RUNTIMES)
    except OSError as error:
        fail(f"cannot write {error.filename}: {error.strerror}", hint="--write names another ROOT")
    for name in files:
        click.echo(f"wrote {root / name}")


def _files(info: str) -> Iterator[tuple[str, str]]:
    """Each file's name and text."""
    from motorpool.controllers.servingruntime.configuration import config_map
    from motorpool.controllers.servingruntime.install import shipped_runtimes
    from motorpool.controllers.servingruntime.release import kustomize_images
    from motorpool.loop.runner import Settings

    # `uname -i`, by which the guide finds the file, is "unknown" where a distribution says nothing.
    for machine in (platform.machine(), "unknown"):
        yield f"{RELEASE}/release-ai-model-serving-{machine}.json", info
    namespace = Settings().namespace
    runtimes = {FILE_NAMES.get(n := one["metadata"]["name"], n): one for one in shipped_runtimes()}
    used = sorted({c["image"] for one in runtimes.values() for c in one["spec"]["containers"]})
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [f"{name}.yaml" for name in sorted(runtimes)],
        "images": kustomize_images(used),
    }
    yield f"{RUNTIMES}/kustomization.yaml", _yaml(kustomization)
    for name, runtime in runtimes.items():
        yield f"{RUNTIMES}/{name}.yaml", _yaml(runtime)
    patch = _yaml(config_map(namespace))
    yield f"{OLD}/kserve/inferenceservice-config-microshift-patch.yaml", patch


def _link(link: Path, target: Path) -> None:
    """The place where guides of older releases look."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(Path("..") / target.name)


def _yaml(obj: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(obj, sort_keys=False, allow_unicode=True, width=100)
    return text
