"""The composition root of `motorpool up`: the only file that builds things and connects them.

One asyncio process holds the API server, the controllers, the node agent and the publisher.
Envoy and the pod supervisor are its children, but outlive it: however it ends, they go on, and the
next `up` on the same data directory adopts them. `down.py` is what ends them.
"""

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from motorpool.base.atomicfile import write_atomically
from motorpool.base.clock import now
from motorpool.base.datadir import identity_of as identity_of_directory
from motorpool.base.lockfile import Locked, LockFile

if TYPE_CHECKING:
    from motorpool.apiserver.access.accounts import AccountTokens
    from motorpool.apiserver.certificates import CertificateFiles
    from motorpool.apiserver.registry import Registry
    from motorpool.base.certificates import Authority
    from motorpool.loop.runner import Context, Controller
    from motorpool.manifests.apply import Manifests
    from motorpool.node.agent import Agent
    from motorpool.node.engines import Wanted
    from motorpool.router.publish import Router
    from motorpool.store import Store
    from motorpool.workloads.serviceaccounttoken.reconcile import Sign

Endpoints: TypeAlias = dict[str, str | int]
"""``{"api": URL, "http": URL, "https": URL, "kubeconfig": PATH, "pid": N}``"""

OnServing: TypeAlias = Callable[[Endpoints, float], None]
"""Called once when all serve, with the seconds that it took."""

DIRECTORY_PERIOD_S = 5.0
DIRECTORIES = ("run", "pki", "pods", "images", "envoy", "volumes")


class UpFailed(Exception):
    """What keeps the platform from serving, in one line; *hint* is the next step."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    data_dir: Path
    base_domain: str = "localhost"
    host: str = "127.0.0.1"
    api_port: int = 6443
    http_port: int = 8080
    https_port: int = 8443
    cluster_runtimes: bool = True
    headless_services: bool = True  # of InferenceServices
    engine: "Wanted" = "auto"  # of Pods: process, podman, or which fits each
    controllers: bool = True  # the serving ones; False leaves them to `motorpool operator`
    manifests: tuple[str, ...] = ()  # directories of them, beside those of the data directory


def run(options: Options, on_serving: OnServing) -> None:
    """Serves until SIGINT or SIGTERM. Raises UpFailed."""
    import uvloop

    started = time.monotonic()
    with (
        held_directory(options.data_dir),
        _explained(),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_until_signalled(_serve(options, on_serving, started)))


@contextlib.contextmanager
def held_directory(data_dir: Path, *, to_end: bool = False) -> Iterator[None]:
    """The data directory, made and held by this process alone. Raises UpFailed.

    *to_end*: nothing starts, so that a full disk keeps nobody from ending what runs.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in DIRECTORIES:
            (data_dir / name).mkdir(mode=0o700, exist_ok=True)
        lock = LockFile(data_dir / "run" / "up.lock", notes_pid=not to_end)
    except Locked as locked:
        raise UpFailed(
            f"{data_dir} is in use by process {locked.pid}",
            hint="stop it with `motorpool down`, or name another --data-dir",
        ) from None
    except OSError as error:
        raise UpFailed(
            f"the data directory {data_dir} is not usable: {error.strerror}",
            hint="name another with --data-dir",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Failures that a user can mend, in one line; all others keep their traceback."""
    from motorpool.apiserver.serve import CannotListen
    from motorpool.router.envoy_process import RouterError
    from motorpool.store.errors import StoreUnavailable

    try:
        yield
    except BaseException as raised:
        error = _root(raised)
        if isinstance(error, CannotListen):
            raise UpFailed(error.strerror or str(error), hint=error.hint) from raised
        if isinstance(error, UpFailed):
            raise error from raised
        if isinstance(error, RouterError | StoreUnavailable):
            raise UpFailed(str(error)) from raised
        raise


def _root(error: BaseException) -> BaseException:
    """The one error inside a group of one, however deep."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _until_signalled(work: Coroutine[object, object, None]) -> None:
    """Runs *work* until it fails, or ends it at the first SIGINT or SIGTERM."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


async def _serve(options: Options, on_serving: OnServing, started: float) -> None:
    from motorpool.apiserver import definitions
    from motorpool.apiserver.access.accounts import AccountTokens
    from motorpool.apiserver.local import LocalClient
    from motorpool.apiserver.ownservice import ensure_own_service, own_address
    from motorpool.apiserver.registry import Registry
    from motorpool.apiserver.sealing import Sealer
    from motorpool.images.store import ImageStore
    from motorpool.loop import runner
    from motorpool.loop.events import EventRecorder
    from motorpool.loop.informer import Informers
    from motorpool.loop.runner import Context, Settings
    from motorpool.node.agent import Agent
    from motorpool.router.listeners import Certificate
    from motorpool.router.publish import Router

    data_dir = options.data_dir
    written = data_dir / "run" / "endpoints.json"
    written.unlink(missing_ok=True)
    async with _store(data_dir / "state.db") as store:
        registry = Registry(
            store,
            sealer=Sealer.ensure(data_dir / "pki" / "secrets.key"),
            data_dir=str(data_dir.resolve()),
            demands_accounts=True,
        )
        client = LocalClient(registry)
        informers, events = Informers(client), EventRecorder(client)
        await definitions.load(registry, client)
        certificates = _certificates(options, address := await own_address(registry))
        accounts = AccountTokens(registry, data_dir / "pki" / "sa.key")
        context = Context(
            client=client,
            kinds=registry.kinds,
            informers=informers,
            events=events,
            settings=Settings(
                base_domain=options.base_domain,
                http_port=options.http_port,
                https_port=options.https_port,
            ),
        )
        router = Router(
            context,
            data_dir=data_dir,
            host=options.host,
            http_port=options.http_port,
            https_port=options.https_port,
            certificate=Certificate(str(certificates.certificate), str(certificates.key)),
            authority=certificates.ca.read_text(),
            binary=_envoy(),
        )
        agent = Agent(
            context,
            data_dir=data_dir,
            node_name=_node_name(),
            images=ImageStore(data_dir / "images"),
            engine=options.engine,
        )
        agent.is_served = router.is_served
        _provide_metrics(registry, agent)
        async with (
            asyncio.TaskGroup() as tasks,
            _api(options, registry, agent, certificates, accounts) as api,
        ):
            await registry.bootstrap()
            await ensure_own_service(client, address, api)
            tasks.create_task(informers.run(), name="informers")
            defining = definitions.controller(registry, client, informers)
            for work, name in (
                (runner.run(defining), defining.name),
                (router.run(), "router"),
                (events.run(), "events"),
                (registry.run(), "upkeep of the store"),
                (agent.run(), "node agent"),
                (_watch_directory(data_dir), "data directory"),
            ):
                tasks.create_task(work, name=name)
            await _install(context, options)
            context = await _told_of_ports(context, router, options)
            authority = certificates.authority
            for controller in _controllers(context, authority, accounts.lasting, options):
                tasks.create_task(runner.run(controller), name=controller.name)
            tasks.create_task(_manifests(context, options).run(), name="manifests")
            await router.ready()
            _settle_memory()
            endpoints: Endpoints = {
                "api": api,
                "http": _url("http", options.host, router.http_port),
                "https": _url("https", options.host, router.https_port or 0),
                "kubeconfig": str(data_dir / "kubeconfig"),
                "pid": os.getpid(),
            }
            write_atomically(written, msgspec.json.encode(endpoints), sync=False)
            on_serving(endpoints, time.monotonic() - started)
            try:
                await asyncio.Event().wait()
            finally:
                written.unlink(missing_ok=True)


async def _watch_directory(data_dir: Path) -> None:
    """Raises UpFailed once it is deleted: what is written from then on would be lost."""
    identity = identity_of_directory(data_dir)
    while True:
        await asyncio.sleep(DIRECTORY_PERIOD_S)
        if identity_of_directory(data_dir) != identity:
            raise UpFailed(
                f"the data directory {data_dir} was deleted or replaced",
                hint="end `motorpool up` before you delete it: `motorpool down`",
            )


@contextlib.asynccontextmanager
async def _store(path: Path) -> AsyncIterator["Store"]:
    from motorpool.store import Store

    store = Store.open(path)
    try:
        yield store
    finally:
        await store.close()


def _certificates(options: Options, own_address: str) -> "CertificateFiles":
    from motorpool.apiserver.certificates import ensure_certificates

    hosts = [f"*.apps.{options.base_domain}", *filter(None, [own_address])]
    if options.host not in ("127.0.0.1", "0.0.0.0", "::", "::1"):
        hosts.append(options.host)
    return ensure_certificates(options.data_dir / "pki", hosts=hosts, now=now())


@contextlib.asynccontextmanager
async def _api(
    options: Options,
    registry: "Registry",
    agent: "Agent",
    certificates: "CertificateFiles",
    accounts: "AccountTokens",
) -> AsyncIterator[str]:
    """The API over HTTPS, and the kubeconfig that reaches it. Gives its URL."""
    from motorpool.apiserver.access.userfile import UserFile
    from motorpool.apiserver.app import build_app
    from motorpool.apiserver.authentication import Authenticators, TokenAuthenticator, User
    from motorpool.apiserver.kubeconfig import ensure_token, write_kubeconfig
    from motorpool.apiserver.serve import serve

    token = ensure_token(options.data_dir / "pki" / "token")
    admin = User("kubernetes-admin", groups=("system:masters", "system:authenticated"))
    users = UserFile(options.data_dir / "pki" / "users.json")
    app = build_app(
        registry,
        tokens=Authenticators((TokenAuthenticator({token: admin}), users)),
        streams=agent.streams,
        accounts=accounts,
    )
    async with serve(app, options.host, options.api_port, certificates) as serving:
        url = _url("https", options.host, serving.port)
        kubeconfig = options.data_dir / "kubeconfig"
        write_kubeconfig(kubeconfig, server=url, ca=certificates.ca, token=token)
        yield url


async def _told_of_ports(context: "Context", router: "Router", options: Options) -> "Context":
    """*context* with the ports that the router picked: they are part of the URLs of services."""
    if 0 not in (options.http_port, options.https_port):
        return context
    await router.ready()
    settings = replace(
        context.settings, http_port=router.http_port, https_port=router.https_port or 0
    )
    return replace(context, settings=settings)


def _provide_metrics(registry: "Registry", agent: "Agent") -> None:
    from motorpool.api import metrics

    registry.virtual.provide(metrics.POD_METRICS, agent.usage.pods)
    registry.virtual.provide(metrics.NODE_METRICS, agent.usage.nodes)


async def _install(context: "Context", options: Options) -> None:
    from motorpool import workloads
    from motorpool.controllers.servingruntime.install import install
    from motorpool.node import localimages
    from motorpool.node.table import is_importable

    def has_program(image: str) -> bool:
        found = localimages.find(image, localimages.SHIPPED, is_importable)
        return options.engine != "podman" and found is not None

    await workloads.install(context.client)
    await install(
        context.client,
        context.settings.namespace,
        cluster_runtimes=options.cluster_runtimes,
        has_program=has_program,
        headless_services=options.headless_services,
    )


def _controllers(
    context: "Context", authority: "Authority", sign: "Sign", options: Options
) -> list["Controller"]:
    from motorpool import workloads
    from motorpool.controllers import controllers as serving
    from motorpool.controllers.route import reconcile as route
    from motorpool.controllers.servingcertificate import reconcile as servingcertificate
    from motorpool.workloads.serviceaccounttoken import reconcile as serviceaccounttoken

    ca_certificate = authority.certificate.decode()
    found = [
        *workloads.controllers(
            context,
            ca_certificate=ca_certificate,
            volumes_dir=options.data_dir.resolve() / "volumes",
        ),
        serviceaccounttoken.controller(context, sign=sign, ca_certificate=ca_certificate),
        route.controller(context),
        *servingcertificate.controllers(context, authority),
    ]
    return [*found, *serving(context)] if options.controllers else found


def _manifests(context: "Context", options: Options) -> "Manifests":
    from motorpool.manifests.apply import Manifests
    from motorpool.manifests.search import default_entries
    from motorpool.node.registration import node_reference

    return Manifests(
        context.client,
        context.kinds,
        context.events,
        context.clock,
        entries=[*default_entries(options.data_dir.resolve()), *options.manifests],
        node=node_reference(_node_name()),
        record=options.data_dir / "run" / "manifests.json",
    )


def _envoy() -> Path | None:
    """The Envoy that the user names, else None for the one that came with the installation."""
    named = os.environ.get("MOTORPOOL_ENVOY")
    return Path(named) if named else None


def _settle_memory() -> None:
    """What was loaded at the start stays; looking through it again and again is for nothing.

    Decoding a list of a thousand pods takes 38 ms instead of 80 with a rarer collection.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _node_name() -> str:
    """The host's name as an object's name."""
    name = re.sub(r"[^a-z0-9.-]+", "-", socket.gethostname().lower()).strip("-.")
    return name[:63] or "localhost"


def _url(scheme: str, host: str, port: int) -> str:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{reached}]:{port}" if ":" in reached else f"{scheme}://{reached}:{port}"
