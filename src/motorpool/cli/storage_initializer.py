"""`motorpool storage-initializer`: what fetches a model before its server starts.

The last line on stderr says why it failed and what to do: with FallbackToLogsOnError that line
becomes the container's termination message, and from there the InferenceService's failure.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from motorpool.storage.transfer import Progress

PROGRESS_EVERY_S = 5.0


@click.command(
    "storage-initializer",
    epilog="Example:  motorpool storage-initializer s3://models/resnet /mnt/models",
)
@click.argument("pairs", metavar="SRC DST [SRC DST ...]", nargs=-1, required=True)
def storage_initializer(pairs: tuple[str, ...]) -> None:
    """Fetch models: each SRC into its directory DST.

    SRC is s3://, gs://, https://, http://, hf://, file:// or a path. Credentials come from the
    environment, in the variables that KServe sets. What is there already is not fetched again.
    """
    from motorpool.storage.errors import StorageError
    from motorpool.storage.fetch import fetch, trust
    from motorpool.storage.transfer import Progress, size_text

    if len(pairs) % 2:
        raise click.UsageError(f"{pairs[-1]} has no DST: give SRC and DST in pairs")
    try:
        trust(os.environ)
        for uri, destination in zip(pairs[::2], pairs[1::2], strict=True):
            progress = Progress()
            click.echo(f"fetching {uri} into {destination}")
            with _told(progress) as seconds:
                fetch(uri, Path(destination), os.environ, progress)
            size = size_text(progress.done_bytes)
            click.echo(f"{uri} is complete: {progress.files} files, {size}, {seconds():.1f} s")
    except StorageError as error:
        sys.stdout.flush()
        click.echo(str(error), err=True)
        raise SystemExit(1) from None


@contextmanager
def _told(progress: "Progress") -> Iterator[Callable[[], float]]:
    """Says now and then how far the work is."""
    from time import monotonic

    from motorpool.storage.transfer import size_text

    started = monotonic()
    over = threading.Event()

    def tell() -> None:
        while not over.wait(PROGRESS_EVERY_S):
            done, total = progress.done_bytes, progress.total_bytes
            share = f" of {size_text(total)} ({100 * done // total} %)" if total else ""
            rate = size_text(done / max(monotonic() - started, 0.001))
            click.echo(f"{size_text(done)}{share}, {rate}/s")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield lambda: monotonic() - started
    finally:
        over.set()
        teller.join()
