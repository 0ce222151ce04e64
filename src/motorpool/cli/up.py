"""`motorpool up`: the embedded engine, in the foreground until it is told to end."""

import sys
from pathlib import Path
from typing import Any

import click

from motorpool.cli.console import fail


@click.command(epilog="Example:  motorpool up --data-dir D --base-domain example.com")
@click.option("--data-dir", metavar="DIR", help="Where everything is kept [$MOTORPOOL_DATA_DIR].")
@click.option(
    "--base-domain", metavar="DOMAIN", default="localhost", show_default=True,
    help="Routes get the host NAME-NAMESPACE.apps.DOMAIN.",
)  # fmt: skip
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True,
    help="Where the API and the router listen.",
)  # fmt: skip
@click.option("--api-port", type=click.IntRange(0, 65535), default=6443, show_default=True)
@click.option(
    "--http-port", type=click.IntRange(0, 65535), default=8080, show_default=True,
    help="The router's. 0 picks a free port, here and for the others.",
)  # fmt: skip
@click.option("--https-port", type=click.IntRange(0, 65535), default=8443, show_default=True)
@click.option(
    "--cluster-runtimes/--no-cluster-runtimes", default=True,
    help="Whether the shipped runtimes serve every namespace, or must be copied as on MicroShift.",
)  # fmt: skip
@click.option(
    "--headless-services/--no-headless-services", default=True,
    help="Whether the Services of InferenceServices are headless, as on MicroShift, or have a "
    "cluster address that other pods reach them at.",
)  # fmt: skip
@click.option(
    "--controllers/--no-controllers", default=True,
    help="Whether to run the serving controllers, or leave them to `motorpool operator`.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["auto", "process", "podman"]), default="auto", show_default=True,
    help="How pods run: as processes of this machine, in podman, or as processes where the local "
    "images table has their images and in podman otherwise.",
)  # fmt: skip
@click.option(
    "--manifests", metavar="DIR", multiple=True,
    help="A directory with a kustomization to apply at the start, or a glob of such directories, "
    "beside manifests and manifests.d/* of the data directory.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning"]), default="warning",
    show_default=True,
)  # fmt: skip
def up(data_dir: str | None, log_level: str, **given: Any) -> None:
    """Serve models from Kubernetes manifests on this machine.

    Stopping it leaves the router and the models serving; the next `up` on the same directory takes
    them over. `motorpool down` stops everything.
    """
    from motorpool.base import datadir, logs

    if sys.platform != "linux":
        fail("motorpool up needs Linux", hint="the control plane watches processes through /proc")
    logs.configure(log_level)

    _check(str(given["base_domain"]), given["manifests"])

    from motorpool import app

    options = app.Options(data_dir=datadir.data_dir(data_dir), **given)
    try:
        app.run(options, _say_that_it_serves)
    except app.UpFailed as error:
        fail(str(error), hint=error.hint)
    click.echo(
        "motorpool: stopped; models and router go on serving until `motorpool down`", err=True
    )


def _check(base_domain: str, manifests: tuple[str, ...]) -> None:
    """What else would only be noticed by a Route that nobody reaches, or a file not applied."""
    from motorpool.api import names

    wrong = names.subdomain(base_domain)
    if wrong:
        fail(f"--base-domain {base_domain} is no domain: {wrong[0]}")
    for one in manifests:
        if not any(sign in one for sign in "*?[") and not Path(one).is_dir():
            fail(f"--manifests {one} is not a directory", hint="a glob of such is quoted: 'D/*'")


def _say_that_it_serves(endpoints: dict[str, str | int], seconds: float) -> None:
    kubeconfig = Path(str(endpoints["kubeconfig"]))
    click.echo(f"motorpool serves after {seconds:.1f} s")
    click.echo(f"  API         {endpoints['api']}")
    click.echo(f"  router      {endpoints['http']}  {endpoints['https']}")
    click.echo(f"  kubeconfig  {kubeconfig}")
    click.echo(f"\n  export KUBECONFIG={kubeconfig}", nl=True)
    sys.stdout.flush()
