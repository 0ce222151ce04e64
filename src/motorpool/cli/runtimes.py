"""`motorpool runtimes`: the runtimes that ship, and what this machine lacks to run each."""

import importlib.util
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from motorpool.base.datadir import data_dir as directory_of
from motorpool.cli.console import fail

if TYPE_CHECKING:
    from motorpool.api.meta import Object

MODULES = {
    "sklearnserver": ("sklearn", "pip install motorpool[sklearn]"),
    "xgbserver": ("xgboost", "pip install motorpool[xgboost]"),
    "lgbserver": ("lightgbm", "pip install motorpool[lightgbm]"),
}
"""What a server's program needs beside itself, by the last part of its image."""


class Row(NamedTuple):
    name: str
    formats: list[str]
    installed: list[str]  # as which kinds `motorpool up` puts it into the API
    missing: list[str]  # empty: it runs here


@click.group()
def runtimes() -> None:
    """List and print the serving runtimes that ship with Motorpool."""


@runtimes.command("ls", epilog="Example:  motorpool runtimes ls --output json")
@click.option("--data-dir", metavar="DIR", help="Whose local-images.yaml counts too.")
@click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def ls(data_dir: str | None, output: str) -> None:
    """Show which runtimes can run on this machine and, if not, what is missing."""
    from motorpool.node.table import ImagesTable

    table = ImagesTable(directory_of(data_dir), lambda text: click.echo(text, err=True))
    rows = rows_of(lambda image: table.find(image) is not None, _importable)
    if output == "json":
        click.echo(json.dumps([_document(row) for row in rows], indent=2))
        return
    width = max(len(row.name) for row in rows)
    click.echo(f"{'NAME':{width}}  {'RUNS HERE':9}  {'INSTALLED':9}  FORMATS")
    for row in rows:
        runs, installed = "no" if row.missing else "yes", "yes" if row.installed else "-"
        formats = ",".join(dict.fromkeys(f.partition(":")[0] for f in row.formats))
        click.echo(f"{row.name:{width}}  {runs:9}  {installed:9}  {formats}")
        for missing in row.missing:
            click.echo(f"{'':{width}}  missing: {missing}")


@runtimes.command("show", epilog="Example:  motorpool runtimes show kserve-mlserver --cluster | "
                  "kubectl apply -f -")  # fmt: skip
@click.argument("name", metavar="NAME")
@click.option("--cluster", is_flag=True, help="As a ClusterServingRuntime, for every namespace.")
def show(name: str, cluster: bool) -> None:
    """Print the runtime NAME as YAML, to apply it or to start one's own from it."""
    import yaml

    found = next((one for one in _all() if one["metadata"]["name"] == name), None)
    if found is None:
        fail(f"no runtime {name} ships", hint="`motorpool runtimes ls` lists them")
    kind = "ClusterServingRuntime" if cluster else "ServingRuntime"
    click.echo(yaml.safe_dump({**found, "kind": kind}, sort_keys=False), nl=False)


def rows_of(stands_in: Callable[[str], bool], importable: Callable[[str], bool]) -> list[Row]:
    """Each runtime as seen by a machine with those programs and modules."""
    from motorpool.controllers.servingruntime.install import CLUSTER_WIDE, shipped_runtimes

    seven = {one["metadata"]["name"] for one in shipped_runtimes()}
    rows = []
    for one in _all():
        name = one["metadata"]["name"]
        kinds = ["ServingRuntime", "ClusterServingRuntime"] if name in seven else []
        if name in CLUSTER_WIDE:
            kinds = ["ClusterServingRuntime"]
        missing = list(_missing(one, stands_in, importable))
        rows.append(Row(name, _formats(one), kinds, missing))
    return rows


def _missing(
    runtime: "Object", stands_in: Callable[[str], bool], importable: Callable[[str], bool]
) -> Iterable[str]:
    for container in runtime["spec"]["containers"]:
        image = container["image"]
        if not stands_in(image):
            yield _absent(image)
        module, step = MODULES.get(image.rpartition("/")[2].partition(":")[0], ("", ""))
        if module and not importable(module):
            yield f"the Python module {module}: {step}"


def _absent(image: str) -> str:
    if "vllm" in image:
        return (
            f"an engine for language models, for image {image}: pip install 'motorpool[llm]', or "
            "vllm where its hardware is"
        )
    return f"a program for image {image}: add it to local-images.yaml, or use a cluster"


def _all() -> "list[Object]":
    from motorpool.controllers.servingruntime.install import catalogue, shipped_runtimes

    return sorted([*shipped_runtimes(), *catalogue()], key=lambda one: one["metadata"]["name"])


def _formats(runtime: "Object") -> list[str]:
    formats = runtime["spec"]["supportedModelFormats"]
    return [":".join(filter(None, (f["name"], f.get("version")))) for f in formats]


def _document(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "formats": row.formats,
        "installedAs": row.installed,
        "runsHere": not row.missing,
        "missing": row.missing,
    }


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
