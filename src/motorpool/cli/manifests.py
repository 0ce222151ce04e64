"""`motorpool manifests`: the directories that `up` applies: how they went, what they would be."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from motorpool.cli.console import fail


@click.group()
def manifests() -> None:
    """Look at the kustomizations that `motorpool up` applies at its start."""


@manifests.command("ls", epilog="Example:  motorpool manifests ls --output json")
@click.option("--data-dir", metavar="DIR", help="What `motorpool up` was given.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text")
def ls(data_dir: str | None, output: str) -> None:
    """Show what the last start applied and deleted, in its order, and what failed."""
    from motorpool.base import datadir

    record = datadir.data_dir(data_dir) / "run" / "manifests.json"
    try:
        rows: list[dict[str, Any]] = json.loads(record.read_text())
    except FileNotFoundError:
        fail(f"nothing is known in {record.parent}", hint="`motorpool up` applies manifests")
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("no manifests were found", err=True)
        return
    width = max(len(row["path"]) for row in rows)
    click.echo(f"{'PATH':{width}}  {'ACTION':6}  {'STATE':8}  OBJECTS")
    for row in rows:
        line = f"{row['path']:{width}}  {row['action']:6}  {row['state']:8}  {row['objects']}"
        click.echo(line)
        if row["error"]:
            click.echo(f"  {row['error']}")


@manifests.command("build", epilog="Example:  motorpool manifests build ./overlay")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def build(directory: Path) -> None:
    """Print the objects of the kustomization in DIRECTORY as YAML, as they would be applied."""
    import yaml

    from motorpool.manifests.apply import built
    from motorpool.manifests.kustomize.resource import KustomizeError

    try:
        objects = built(directory)
    except (KustomizeError, OSError) as error:
        fail(str(error))

    class Plain(yaml.SafeDumper):
        """Writes what occurs twice twice."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    yaml.dump_all(objects, sys.stdout, Dumper=Plain, sort_keys=True, allow_unicode=True)
