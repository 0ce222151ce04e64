"""The command line: a table of verbs, each in a file of its own that is loaded when it is used.

Rule: this file imports nothing but click, so that `motorpool --help` answers at once.
"""

import errno
import importlib
from typing import NamedTuple

import click

import motorpool


class Verb(NamedTuple):
    module: str
    help: str


# The help stands here too, or else `motorpool --help` would have to load every verb.
VERBS = {
    "up": Verb("motorpool.cli.up", "Serve models from Kubernetes manifests on this machine."),
    "down": Verb("motorpool.cli.down", "Stop everything that runs from one data directory."),
    "modelcar": Verb("motorpool.cli.modelcar", "Build, move and look at models as OCI images."),
    "runtimes": Verb("motorpool.cli.runtimes", "List the serving runtimes that ship."),
    "images": Verb("motorpool.cli.images", "Say what runs in place of a container image."),
    "manifests": Verb("motorpool.cli.manifests", "What is applied at the start, and how it went."),
    "release-info": Verb("motorpool.cli.release_info", "Tell which images the runtimes stand for."),
    "operator": Verb("motorpool.cli.operator", "Run the serving controllers against a cluster."),
    "storage-initializer": Verb(
        "motorpool.cli.storage_initializer", "Fetch models into directories, as KServe's does."
    ),
    "secrets": Verb("motorpool.cli.secrets", "Look after the keys that Secrets are sealed with."),
    "user": Verb("motorpool.cli.user", "Give people and programs their own access."),
    "bench": Verb("motorpool.cli.bench", "Measure how fast a server of language models answers."),
    "demo": Verb("motorpool.cli.demo", "Serve the example model, ask it, and clean up."),
}


MENDABLE = {
    errno.EACCES: "be the user that it belongs to, or name another --data-dir",
    errno.EPERM: "be the user that it belongs to, or name another --data-dir",
    errno.EROFS: "name another --data-dir",
    errno.ENOSPC: "make room there, or name another --data-dir",
}


class Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(VERBS[cmd_name].module)
        command = getattr(module, cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(f"{VERBS[cmd_name].module}.{cmd_name} is no command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except OSError as error:
            # What a user can mend wherever it happens; all else is ours, and keeps its traceback.
            if error.filename is None or error.errno not in MENDABLE:
                raise
            from motorpool.cli.console import fail

            fail(f"cannot use {error.filename}: {error.strerror}", hint=MENDABLE[error.errno])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


@click.group(
    cls=Verbs,
    help="Serve AI models from Kubernetes manifests, with or without a Kubernetes.",
    epilog="Example: motorpool up --base-domain example.com",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(motorpool.__version__, prog_name="motorpool")
def main() -> None:
    pass
