"""`motorpool modelcar`: models packed as OCI images, without a container engine."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from motorpool.base.datadir import data_dir

if TYPE_CHECKING:
    from motorpool.images.cancellation import Cancellation
    from motorpool.images.progress import ProgressTo
    from motorpool.images.store import ImageStore

_DATA_DIR = click.option(
    "--data-dir", metavar="DIR", help="Where Motorpool keeps everything [$MOTORPOOL_DATA_DIR]."
)
_OUTPUT = click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group()
def modelcar() -> None:
    """Pack models as OCI images; pull, push and list them."""


def _verb(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A verb with the options that all have, an example in its help, and errors in one line."""

    def make(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def run(data_dir: str | None, **arguments: Any) -> None:
            from motorpool.images.errors import Cancelled, ImageError

            try:
                function(_store(data_dir), **arguments)
            except ImageError as error:
                raise click.ClickException(str(error)) from error
            except Cancelled:
                raise click.Abort from None

        command = modelcar.command(name, epilog=f"Example:  motorpool modelcar {example}")
        return command(_DATA_DIR(_OUTPUT(run)))

    return make


def _store(option: str | None) -> "ImageStore":
    from motorpool.images.store import ImageStore

    return ImageStore(data_dir(option) / "images")


@_verb("build", "build ./resnet50 -t localhost/ovms-resnet50:test")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--tag", "-t", "reference", metavar="REF", required=True, help="The image's name.")
def build(store: "ImageStore", directory: Path, reference: str, output: str) -> None:
    """Pack the files of DIR as the image REF, under /models.

    A DIR with version directories (DIR/1/...) becomes /models/1/... . The same files give the same
    digest on every machine.
    """
    from motorpool.images.reference import parse

    name = parse(reference)
    with _at_work(f"packing {name}") as (progress, cancelled):
        digest = store.build(directory, name, progress, cancelled)
    _print({"reference": str(name), "digest": digest}, output, f"{name}\n{digest}")


@_verb("pull", "pull quay.io/me/resnet50:1.0")
@click.argument("reference", metavar="REF")
def pull(store: "ImageStore", reference: str, output: str) -> None:
    """Take the image REF from its registry, verify and unpack it."""
    from motorpool.images.reference import parse

    name = parse(reference)
    with _at_work(f"pulling {name}") as (progress, cancelled):
        tree = store.pull(name, progress, cancelled)
    result = {"reference": tree.reference, "digest": tree.digest, "tree": str(tree.path)}
    _print(result, output, f"{tree.reference}\n{tree.digest}")


@_verb("push", "push localhost:5000/resnet50:1.0")
@click.argument("reference", metavar="REF")
def push(store: "ImageStore", reference: str, output: str) -> None:
    """Send the image REF to its registry; what the registry has is not sent again."""
    from motorpool.images.reference import parse

    name = parse(reference)
    with _at_work(f"pushing {name}") as (progress, cancelled):
        digest = store.push(name, progress, cancelled)
    _print({"reference": str(name), "digest": digest}, output, f"{name}\n{digest}")


@_verb("ls", "ls --output json")
def ls(store: "ImageStore", output: str) -> None:
    """List the images on this machine."""
    images = store.images()
    if output == "json":
        rows = [
            {"reference": one.reference, "digest": one.digest, "sizeBytes": one.size_bytes,
             "usedBy": one.owners}
            for one in images
        ]  # fmt: skip
        _print(rows, output, "")
        return
    width = max([len("REFERENCE"), *(len(one.reference) for one in images)])
    click.echo(f"{'REFERENCE':{width}}  {'DIGEST':19}  {'SIZE':>9}  USED BY")
    for one in images:
        used = str(len(one.owners)) if one.owners else "-"
        click.echo(
            f"{one.reference:{width}}  {one.digest[:19]}  {_size(one.size_bytes):>9}  {used}"
        )


@_verb("inspect", "inspect localhost/ovms-resnet50:test")
@click.argument("reference", metavar="REF")
def inspect(store: "ImageStore", reference: str, output: str) -> None:
    """Show the layers, digests and tree of the image REF."""
    from motorpool.images.reference import parse

    found = store.inspect(parse(reference))
    text = "\n".join(f"{key + ':':12} {_text(value)}" for key, value in found.items())
    _print(found, output, text)


@_verb("rm", "rm localhost/ovms-resnet50:test")
@click.argument("reference", metavar="REF")
def rm(store: "ImageStore", reference: str, output: str) -> None:
    """Remove the image REF, and what no other image needs; an image in use is kept."""
    from motorpool.images.reference import parse

    name = parse(reference)
    freed = store.remove(name)
    _print(
        {"reference": str(name), "freedBytes": freed},
        output,
        f"removed {name}, {_size(freed)} freed",
    )


@contextmanager
def _at_work(title: str) -> Iterator[tuple["ProgressTo | None", "Cancellation"]]:
    """A progress bar on a terminal, nothing elsewhere; Ctrl-C stops the threads that work."""
    from motorpool.images.cancellation import Cancellation

    cancelled = Cancellation()
    try:
        if not sys.stderr.isatty():
            yield None, cancelled
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with Bars(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bars:
            bar = bars.add_task(title, total=None)
            yield (
                lambda now: bars.update(bar, completed=now.done_bytes, total=now.total_bytes),
                cancelled,
            )
    except KeyboardInterrupt:
        cancelled.set()
        raise


def _print(value: object, output: str, text: str) -> None:
    click.echo(json.dumps(value, indent=2) if output == "json" else text)


def _text(value: object) -> str:
    if isinstance(value, list):
        return "\n             ".join(
            f"{one['digest']} {_size(one['size'])}" if isinstance(one, dict) else str(one)
            for one in value
        ) or "-"  # fmt: skip
    return _size(value) if isinstance(value, int) else str(value or "-")


def _size(count: int) -> str:
    """As podman prints it: powers of 1000."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
