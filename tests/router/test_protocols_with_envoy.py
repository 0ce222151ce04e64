"""What passes through the real Envoy besides plain requests: TLS, tunnels, HTTP/2, rewrites."""

import asyncio
import datetime
import ssl

import pytest

from motorpool.api import discovery
from motorpool.router.listeners import Certificate
from tests.ports import own_address
from tests.router.objects import endpoint, endpoint_slice, route
from tests.router.running import routing, set_endpoints, status_is
from tests.router.traffic import Backend, Load, fetch, fetch_until

pytestmark = pytest.mark.slow

A, B = own_address(5), own_address(6)
HOST = "iris.example.com"


def certificate_for(name):
    """A self-signed certificate and its key as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def trusting(certificate, *, protocols=()):
    context = ssl.create_default_context(cadata=certificate)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


@pytest.fixture
def own_certificate(tmp_path):
    """The router's own: its PEM text and its paths."""
    certificate, key = certificate_for("*.example.com")
    (tmp_path / "tls.crt").write_text(certificate)
    (tmp_path / "tls.key").write_text(key)
    return certificate, Certificate(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))


async def test_edge_routes_end_tls_at_the_router(tmp_path, own_certificate):
    certificate, paths = own_certificate
    objects = [
        route(tls={"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}),
        route(
            "strict",
            tls={"termination": "edge"},
            annotations={"haproxy.router.openshift.io/hsts_header": "max-age=60"},
        ),
        route("both", tls={"termination": "edge", "insecureEdgeTerminationPolicy": "Allow"}),
        route("plain"),
        *(endpoint_slice(name, endpoint(A)) for name in ("iris", "strict", "both", "plain")),
    ]
    async with Backend(A), routing(tmp_path, *objects, certificate=paths) as (router, _):
        tls, plain = router.https_port, router.http_port
        trusted = trusting(certificate)
        reply = await fetch_until(tls, HOST, status_is(200), ssl=trusted)
        assert b"x-forwarded-proto: https" in reply.body
        assert reply.header("set-cookie").endswith("; Secure; SameSite=None; HttpOnly")
        reply = await fetch(plain, f"{HOST}:8080", "/a?b=c")
        assert (reply.status, reply.header("location")) == (302, f"https://{HOST}:{tls}/a?b=c")
        reply = await fetch(tls, "strict.example.com", ssl=trusted)
        assert reply.header("strict-transport-security") == "max-age=60"
        assert (await fetch(plain, "strict.example.com")).status == 503
        assert (await fetch(plain, "both.example.com")).status == 200
        assert (await fetch(tls, "both.example.com", ssl=trusted)).status == 200
        assert (await fetch(tls, "plain.example.com", ssl=trusted)).status == 503


async def test_a_route_brings_its_own_certificate(tmp_path, own_certificate):
    _, paths = own_certificate
    certificate, key = certificate_for("iris.other.org")
    tls = {"termination": "edge", "certificate": certificate, "key": key}
    objects = [route(host="iris.other.org", tls=tls), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects, certificate=paths) as (router, _):
        port, trusted = router.https_port, trusting(certificate)
        await fetch_until(router.http_port, "iris.other.org", status_is(503))
        async with asyncio.timeout(30):
            while True:
                try:
                    reply = await fetch(port, "iris.other.org", ssl=trusted)
                    if reply.status == 200:
                        break
                except ssl.SSLError:
                    pass  # the router's own certificate, until this one is published
                await asyncio.sleep(0.01)  # the certificate and the endpoints come apart
        assert reply.status == 200
        context = trusting(certificate, protocols=["h2"])
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="iris.other.org"
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()


async def serve_tunnel(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"upgrade: websocket" in head.lower()
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    while data := await reader.read(100):
        writer.write(data.upper())
    writer.close()


async def test_websockets_outlive_the_timeout_of_requests(tmp_path):
    notes = {"haproxy.router.openshift.io/timeout": "200ms"}
    objects = [route(annotations=notes), endpoint_slice("iris", endpoint(A))]
    server = await asyncio.start_server(serve_tunnel, A, 8080)
    async with server, routing(tmp_path, *objects) as (router, client):
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "WebSocket")]
        lines = "".join(f"{name}: {value}\r\n" for name, value in upgrade)
        async with asyncio.timeout(30):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", router.http_port)
                writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n".encode())
                if b" 101 " in await reader.readline():
                    break
                writer.close()
                await asyncio.sleep(0.01)
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.5)  # silent for longer than a request may be
            # A tunnel also outlives its endpoint's place in the table.
            await set_endpoints(client, endpoint(B))
            await fetch_until(router.http_port, HOST, status_is(503))
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"HELLO"
        writer.close()


async def test_http2_with_prior_knowledge_is_spoken_and_an_upgrade_to_it_ignored(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A))]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        offer = [
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ]
        reply = await fetch_until(router.http_port, HOST, status_is(200), headers=offer)
        assert b"h2c" not in reply.body
        reader, writer = await asyncio.open_connection("127.0.0.1", router.http_port)
        empty_settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + empty_settings)
        async with asyncio.timeout(30):
            header = await reader.readexactly(9)
        assert header[3] == 4, "the first frame is no SETTINGS"
        writer.close()


async def test_paths_and_headers_are_rewritten_as_told(tmp_path):
    actions = {
        "request": [
            {"name": "X-Was", "action": {"type": "Set", "set": {"value": "100%% %[req.hdr(X-A)]"}}},
            {"name": "X-B", "action": {"type": "Delete"}},
        ],
        "response": [{"name": "X-Out", "action": {"type": "Set", "set": {"value": "yes"}}}],
    }
    target = "haproxy.router.openshift.io/rewrite-target"
    objects = [
        route(path="/a", annotations={target: "/"}, httpHeaders={"actions": actions}),
        route("b", host=HOST, path="/b", annotations={target: "/v2"}),
        *(endpoint_slice(name, endpoint(A)) for name in ("iris", "b")),
    ]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        port = router.http_port
        reply = await fetch_until(
            port, HOST, status_is(200), "/a/x?y", headers=[("X-A", "was"), ("X-B", "1")]
        )
        assert b"GET /x?y HTTP" in reply.body
        assert b"x-was: 100% was" in reply.body
        assert b"x-b:" not in reply.body
        assert reply.header("x-out") == "yes"
        assert b"GET / HTTP" in (await fetch(port, HOST, "/a")).body
        assert b"GET /v2/models HTTP" in (await fetch(port, HOST, "/b/models")).body


async def test_only_allowed_sources_get_through(tmp_path):
    allow = "haproxy.router.openshift.io/ip_allowlist"
    objects = [
        route(annotations={allow: "127.0.0.0/8 10.1.2.3"}),
        route("closed", annotations={allow: "10.1.2.3"}),
        *(endpoint_slice(name, endpoint(A)) for name in ("iris", "closed")),
    ]
    async with Backend(A), routing(tmp_path, *objects) as (router, _):
        await fetch_until(router.http_port, HOST, status_is(200))
        spoofed = [("X-Forwarded-For", "10.1.2.3")]
        reply = await fetch(router.http_port, "closed.example.com", headers=spoofed)
        assert reply.status == 403


async def test_a_pod_that_is_cut_off_under_load_takes_no_request_with_it(tmp_path):
    objects = [route(), endpoint_slice("iris", endpoint(A), endpoint(B))]
    async with Backend(A), routing(tmp_path, *objects) as (router, client):
        async with Backend(B, slow_s=0.05):
            await fetch_until(router.http_port, HOST, status_is(200))
            load = Load(router.http_port, HOST, path="/slow", body=bytes(2000), clients=16)
            await load.__aenter__()
            await load.more(20)
        # B closed its connections with requests on them, and is still listed.
        await load.more(50)
        await set_endpoints(client, endpoint(A))
        await load.more(50)
        await load.__aexit__()
        assert load.failures == []
        kept = await client.get(discovery.ENDPOINT_SLICE, "n", "iris-a")
        assert len(kept["endpoints"]) == 1
