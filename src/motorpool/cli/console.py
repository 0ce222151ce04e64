"""How the command line speaks: data to stdout, the rest to stderr, errors in one line.

No trailing period on errors, a hint on its own line, colour never carries meaning.
"""

import sys
from typing import NoReturn

import click


def fail(message: str, *, hint: str = "", code: int = 1) -> NoReturn:
    """Ends the program with *message* on stderr."""
    click.echo(f"motorpool: {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    sys.exit(code)
