"""`motorpool operator`: the serving controllers alone, against any Kubernetes API."""

from pathlib import Path

import click

from motorpool.cli.console import fail


@click.command(epilog="Example:  motorpool operator --kubeconfig ~/.kube/config")
@click.option(
    "--kubeconfig", envvar="KUBECONFIG", type=click.Path(path_type=Path), metavar="FILE",
    help="How to reach the cluster; without it, as the Pod that this runs in [$KUBECONFIG].",
)  # fmt: skip
@click.option("--context", default="", metavar="NAME", help="Of the kubeconfig [its current one].")
@click.option(
    "--namespace", default="redhat-ods-applications", show_default=True, metavar="NAME",
    help="Where inferenceservice-config and the Lease are.",
)  # fmt: skip
@click.option(
    "--oci-mode", type=click.Choice(["auto", "native", "modelcar"]), default="auto",
    show_default=True,
    help="How models that are images are served where nothing else says it: auto is an image "
    "volume from Kubernetes 1.35 on, a ModelCar sidecar before.",
)  # fmt: skip
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning"]), default="info",
    show_default=True,
)  # fmt: skip
def operator(
    kubeconfig: Path | None, context: str, namespace: str, oci_mode: str, log_level: str
) -> None:
    """Make InferenceServices true on a cluster, in the foreground until it is told to end.

    Several may run: one works, the others wait to take over.
    """
    from motorpool import operator as root
    from motorpool.base import logs

    logs.configure(log_level)
    options = root.Options(
        kubeconfig=kubeconfig, context=context, namespace=namespace, oci_mode=oci_mode
    )

    def say(identity: str) -> None:
        click.echo(f"motorpool operator works as {identity}")

    try:
        root.run(options, say)
    except root.OperatorFailed as error:
        fail(str(error), hint=error.hint)
