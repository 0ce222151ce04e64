"""The router before pods that speak TLS: it asks them who they are, with the real Envoy."""

import asyncio
import contextlib
import ssl
from datetime import UTC, datetime

import grpc
import pytest

from motorpool.base.certificates import Authority
from tests.router.objects import endpoint, endpoint_slice, route
from tests.router.running import routing, status_is
from tests.router.traffic import fetch, fetch_until

pytestmark = pytest.mark.slow

ADDRESS = "127.77.0.9"
PLATFORM, STRANGER = (Authority.new(name, datetime.now(UTC)) for name in ("platform", "stranger"))
HOST = "iris.example.com"


@contextlib.asynccontextmanager
async def pod(tmp_path, authority, name):
    """Says which protocol it was spoken to in."""
    issued = authority.issue([name], datetime.now(UTC))
    (tmp_path / "crt").write_bytes(issued.certificate)
    (tmp_path / "key").write_bytes(issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while await reader.readuntil(b"\r\n\r\n"):
                said = str(writer.get_extra_info("ssl_object").selected_alpn_protocol()).encode()
                head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said)
                writer.write(head + said)
        writer.close()

    server = await asyncio.start_server(serve, ADDRESS, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def objects(port, **tls):
    spec = {"termination": "reencrypt", "insecureEdgeTerminationPolicy": "Allow", **tls}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    return [
        route(tls=spec),
        endpoint_slice("iris", endpoint(ADDRESS), ports=ports),
        # To the same pod, whoever it is: where this one answers, the router has its table.
        route("trusting", to={"kind": "Service", "name": "iris", "weight": 100},
              tls=spec | {"destinationCACertificate": "".join(
                  a.certificate.decode() for a in (PLATFORM, STRANGER))}),
    ]  # fmt: skip


async def test_a_pod_of_the_platform_s_authority_and_its_service_s_name_is_answered(tmp_path):
    async with (
        pod(tmp_path, PLATFORM, "iris.n.svc") as port,
        routing(tmp_path, *objects(port), authority=PLATFORM.certificate.decode()) as (router, _),
    ):
        reply = await fetch_until(router.http_port, HOST, status_is(200))
        assert reply.body == b"http/1.1", "as the client speaks"


@pytest.mark.parametrize(
    ("authority", "name"),
    [(PLATFORM, "other.n.svc"), (PLATFORM, "iris.another.svc"), (STRANGER, "iris.n.svc")],
)
async def test_whoever_else_listens_there_gets_no_request(tmp_path, authority, name):
    async with (
        pod(tmp_path, authority, name) as port,
        routing(tmp_path, *objects(port), authority=PLATFORM.certificate.decode()) as (router, _),
    ):
        await fetch_until(router.http_port, "trusting.example.com", status_is(200))
        assert (await fetch(router.http_port, HOST)).status == 503


async def test_a_user_s_own_authority_vouches_for_any_name(tmp_path):
    tls = {"destinationCACertificate": STRANGER.certificate.decode()}
    async with (
        pod(tmp_path, STRANGER, "whatever") as port,
        routing(tmp_path, *objects(port, **tls), authority=PLATFORM.certificate.decode()) as (
            router,
            _,
        ),
    ):
        await fetch_until(router.http_port, HOST, status_is(200))


async def test_grpc_passes_as_it_comes(tmp_path):
    async def echo(value, _):
        return value

    handler = grpc.method_handlers_generic_handler(
        "test.Echo", {"Once": grpc.unary_unary_rpc_method_handler(echo)}
    )
    issued = PLATFORM.issue(["iris.n.svc"], datetime.now(UTC))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    credentials = grpc.ssl_server_credentials([(issued.key, issued.certificate)])
    port = server.add_secure_port(f"{ADDRESS}:0", credentials)
    await server.start()
    try:
        async with routing(tmp_path, *objects(port), authority=PLATFORM.certificate.decode()) as (
            router,
            _,
        ):
            options = [("grpc.default_authority", HOST)]
            address = f"127.0.0.1:{router.http_port}"
            async with grpc.aio.insecure_channel(address, options=options) as channel:
                call = channel.unary_unary("/test.Echo/Once")
                async with asyncio.timeout(20):
                    while True:  # until the router has its table
                        with contextlib.suppress(grpc.aio.AioRpcError):
                            assert await call(b"x" * 100_000) == b"x" * 100_000
                            break
                        await asyncio.sleep(0.02)
    finally:
        await server.stop(None)
