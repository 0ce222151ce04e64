"""`motorpool user`: people and programs that come in with a token of their own."""

import json
from pathlib import Path

import click

from motorpool.cli.console import fail

_data_dir = click.option("--data-dir", metavar="DIR", help="What `motorpool up` was given.")
_output = click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text")


@click.group()
def user() -> None:
    """Give people and programs their own access.

    A user has a name and groups; what they may do, roles and bindings say:
    kubectl create rolebinding NAME --clusterrole=edit --user=USER.
    """


@user.command("add", epilog="Example:  motorpool user add alice --group staff")
@click.argument("name")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="May be given repeatedly.")
@click.option("--kubeconfig", "target", metavar="FILE", help="Where to write [NAME.kubeconfig].")
@_data_dir
@_output
def add(
    name: str, groups: tuple[str, ...], target: str | None, data_dir: str | None, output: str
) -> None:
    """Make a user, and write a kubeconfig with their token.

    The token stands nowhere else: only its hash is kept.
    """
    from motorpool.apiserver.access import userfile
    from motorpool.apiserver.kubeconfig import write_kubeconfig
    from motorpool.base.clock import now, rfc3339

    directory = _directory(data_dir)
    if not name or not name.isprintable() or name.startswith("system:"):
        fail(f"a user cannot be named {name!r}", hint="names that begin with system: are taken")
    file = Path(target or f"{name.replace('/', '-')}.kubeconfig")
    if file.exists():
        fail(f"{file} exists already", hint="name another with --kubeconfig")
    server = _server(directory)
    try:
        added = userfile.add(_file(directory), name, list(groups), created=rfc3339(now()))
        ca = directory / "pki" / "ca.crt"
        write_kubeconfig(file, server=server, ca=ca, token=added.token, user=name)
    except userfile.NameTaken:
        fail(f"there is a user {name} already", hint=f"motorpool user rm {name}")
    except (OSError, ValueError) as error:
        fail(f"user {name} cannot be added: {error}")
    if output == "json":
        click.echo(json.dumps({"name": name, "groups": list(groups), "kubeconfig": str(file)}))
    else:
        click.echo(f"user {name} comes in with {file}")


@user.command("ls", epilog="Example:  motorpool user ls --output json")
@_data_dir
@_output
def ls(data_dir: str | None, output: str) -> None:
    """Show the users that have a token."""
    from motorpool.apiserver.access import userfile

    try:
        entries = userfile.read(_file(_directory(data_dir)))
    except (OSError, ValueError) as error:
        fail(f"the users cannot be read: {error}")
    if output == "json":
        fields = ("name", "groups", "created")
        click.echo(json.dumps([{f: getattr(entry, f) for f in fields} for entry in entries]))
        return
    rows = [("NAME", "GROUPS", "CREATED")]
    rows += [(e.name, ",".join(e.groups) or "<none>", e.created) for e in entries]
    widths = [max(len(row[column]) for row in rows) + 3 for column in range(2)]
    for name, groups, created in rows:
        click.echo(f"{name:<{widths[0]}}{groups:<{widths[1]}}{created}")


@user.command("rm", epilog="Example:  motorpool user rm alice")
@click.argument("name")
@_data_dir
@_output
def rm(name: str, data_dir: str | None, output: str) -> None:
    """Take a user's token away; it stops working at once."""
    from motorpool.apiserver.access import userfile

    try:
        userfile.remove(_file(_directory(data_dir)), name)
    except userfile.NoSuchUser:
        fail(f"there is no user {name}", hint="motorpool user ls")
    except (OSError, ValueError) as error:
        fail(f"user {name} cannot be removed: {error}")
    click.echo(json.dumps({"removed": name}) if output == "json" else f"user {name} removed")


def _directory(data_dir: str | None) -> Path:
    from motorpool.base import datadir

    directory = datadir.data_dir(data_dir)
    if not (directory / "pki" / "ca.crt").is_file():
        fail(f"{directory} was never served", hint="start `motorpool up`, or name --data-dir")
    return directory


def _file(directory: Path) -> Path:
    return directory / "pki" / "users.json"


def _server(directory: Path) -> str:
    """Where the API is, or was when it last served."""
    import yaml

    try:
        config = yaml.safe_load((directory / "kubeconfig").read_text())
        return str(config["clusters"][0]["cluster"]["server"])
    except (OSError, KeyError, IndexError, TypeError, yaml.YAMLError) as error:
        fail(f"{directory}/kubeconfig does not say where the API is: {error}")
