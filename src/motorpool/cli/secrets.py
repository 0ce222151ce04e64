"""`motorpool secrets`: the keys that seal Secrets in the database."""

import json

import click

from motorpool.cli.console import fail


@click.group()
def secrets() -> None:
    """Look after the keys that Secrets are sealed with."""


@secrets.command("rotate-key", epilog="Example:  motorpool secrets rotate-key --data-dir D")
@click.option("--data-dir", metavar="DIR", help="What `motorpool up` was given.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text")
def rotate_key(data_dir: str | None, output: str) -> None:
    """Seal Secrets with a new key from now on.

    A running `motorpool up` takes it at once and seals again what older keys sealed, within a
    minute. The older keys stay in the file, for backups of the database.
    """
    from motorpool.apiserver.sealing import add_key
    from motorpool.base import datadir

    directory = datadir.data_dir(data_dir)
    if not directory.is_dir():
        fail(f"there is no data directory {directory}", hint="--data-dir names another")
    file = directory / "pki" / "secrets.key"
    try:
        key = add_key(file)
    except OSError as error:
        fail(f"the keys in {file} cannot be changed: {error}")
    if output == "json":
        click.echo(json.dumps({"key": key, "file": str(file)}))
    else:
        click.echo(f"Secrets are sealed with key {key} from now on")
