"""`motorpool images`: what the local images table makes of an image."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from motorpool.base.datadir import data_dir as directory_of
from motorpool.cli.console import fail

if TYPE_CHECKING:
    from motorpool.node.localimages import Hit, LocalImage
    from motorpool.node.table import ImagesTable

SHIPPED = "shipped with Motorpool"
DATA_DIR = click.option("--data-dir", metavar="DIR", help="Whose local-images.yaml counts too.")
OUTPUT = click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group()
def images() -> None:
    """Say what runs on this machine in place of a container image."""


@images.command("explain", epilog="Example:  motorpool images explain quay.io/modh/vllm:latest")
@click.argument("reference", metavar="REF")
@DATA_DIR
@OUTPUT
def explain(reference: str, data_dir: str | None, output: str) -> None:
    """Show which entry of the local images table REF hits, and what would run.

    Ends with 1 where nothing stands in for it.
    """
    table = _table(data_dir)
    document = explained(reference, table)
    if output == "json":
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo("\n".join(_lines(document)))
    if document["entry"] is None:
        fail(table.missing(reference))


@images.command("ls", epilog="Example:  motorpool images ls --output json")
@DATA_DIR
@OUTPUT
def ls(data_dir: str | None, output: str) -> None:
    """List the entries of the local images table in the order in which they count."""
    table = _table(data_dir)
    rows = [_entry(entry, table) for entry in table.entries()]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        lacking = f"; only where {row['requires']} is installed" if row["requires"] else ""
        click.echo(f"{_program(row)}  ({row['source']}{lacking})")
        for pattern in row["match"]:
            click.echo(f"  {pattern}")


def explained(reference: str, table: "ImagesTable") -> dict[str, Any]:
    """``{"image", "entry": {...} | null, "passedOver": [...]}``; an entry says what it runs."""
    found, passed = None, []
    for hit in table.hits(reference):
        document = _entry(hit.entry, table) | _match(hit)
        if hit.lacks:
            passed.append(document | {"lacks": hit.lacks})
        elif found is None:
            found = document
    return {"image": reference, "entry": found, "passedOver": passed}


def _match(hit: "Hit") -> dict[str, str]:
    return {"pattern": hit.pattern, "matched": hit.name}


def _entry(entry: "LocalImage", table: "ImagesTable") -> dict[str, Any]:
    """In the words of the table's file."""
    return {
        "source": str(table.path) if table.is_own(entry) else SHIPPED,
        "match": list(entry.match),
        "command": _command(entry),
        "args": list(entry.args),
        "fork": entry.fork,
        "bindFlags": list(entry.bind_flags),
        "env": dict(entry.env),
        "requires": entry.requires,
        "keepCommand": entry.keep_command,
        "keepArgs": entry.keep_args,
    }


def _command(entry: "LocalImage") -> list[str]:
    import sys

    return [part.replace("{python}", sys.executable) for part in entry.command]


def _program(row: dict[str, Any]) -> str:
    command = " ".join(row["command"])
    if not row["keepCommand"]:
        return command
    return f"the container's own command, else {command}" if command else "the container's command"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield f"image    {document['image']}"
    for passed in document["passedOver"]:
        yield f"passed   {_where(passed)}: needs the Python module {passed['lacks']}"
    entry = document["entry"]
    if entry is None:
        yield "entry    none"
        return
    yield f"entry    {_where(entry)}"
    yield f"runs     {_program(entry)}"
    if entry["fork"]:
        yield f"         forked from a process that has {entry['fork']} loaded, where possible"
    if entry["args"]:
        yield f"         with {' '.join(entry['args'])} where the container names no arguments"
    if not entry["keepArgs"]:
        yield "         without the container's arguments"
    for flag in entry["bindFlags"]:
        yield f"         with {flag} at the Pod's address"
    for name, value in entry["env"].items():
        yield f"env      {name}={value}"


def _where(entry: dict[str, Any]) -> str:
    matched = "" if entry["matched"] == entry["pattern"] else f" matches {entry['matched']}"
    return f"{entry['source']}: {entry['pattern']}{matched}"


def _table(data_dir: str | None) -> "ImagesTable":
    """Ends the program where the user's file cannot be used."""
    from motorpool.node.table import ImagesTable

    def refuse(message: str) -> None:
        fail(message.removesuffix("; the table stays as it was"))

    return ImagesTable(directory_of(data_dir), refuse)
