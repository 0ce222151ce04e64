"""`motorpool down`: ends everything that runs from one data directory; the data stays."""

import json

import click

from motorpool.cli.console import fail


@click.command(epilog="Example:  motorpool down --data-dir D")
@click.option("--data-dir", metavar="DIR", help="What `motorpool up` was given.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text")
def down(data_dir: str | None, output: str) -> None:
    """Stop everything that runs from one data directory: control plane, router and models.

    Objects and images stay: the next `motorpool up` starts the models again.
    """
    from motorpool.base import datadir

    directory = datadir.data_dir(data_dir)
    if not directory.is_dir():
        fail(f"there is no data directory {directory}", hint="--data-dir names another")

    from motorpool.app import UpFailed
    from motorpool.down import stop

    try:
        stopped = stop(directory)
    except UpFailed as error:
        fail(str(error), hint=error.hint)
    if output == "json":
        click.echo(json.dumps(stopped))
    else:
        for what in stopped["stopped"]:
            click.echo(f"stopped {what}")
        if not stopped["stopped"]:
            click.echo("nothing was running")
