"""Certificates, kubeconfig and the listening socket."""

import asyncio
import socket
import ssl
from datetime import timedelta

import pytest
from cryptography import x509

from motorpool.api import core
from motorpool.apiserver.certificates import ensure_certificates
from motorpool.apiserver.kubeconfig import ensure_token, write_kubeconfig
from motorpool.apiserver.serve import CannotListen, serve
from motorpool.base.clock import now
from motorpool.client.http import HttpClient
from motorpool.client.kubeconfig import KubeconfigError, read_kubeconfig
from tests.apiserver.conftest import TOKEN
from tests.apiserver.objects import config_map


def test_certificates_are_made_once(tmp_path):
    first = ensure_certificates(tmp_path, now=now())
    contents = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert ensure_certificates(tmp_path, now=now()) == first
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == contents
    for key in ("ca.key", "serving.key"):
        assert (tmp_path / key).stat().st_mode & 0o777 == 0o600


def test_a_serving_certificate_is_renewed_before_its_end_under_the_same_ca(tmp_path):
    files = ensure_certificates(tmp_path, now=now())
    before = files.certificate.read_bytes(), files.ca.read_bytes()
    ensure_certificates(tmp_path, now=now() + timedelta(days=340))
    assert files.certificate.read_bytes() != before[0]
    assert files.ca.read_bytes() == before[1]


def test_a_new_host_gets_into_the_certificate(tmp_path):
    ensure_certificates(tmp_path, now=now())
    files = ensure_certificates(tmp_path, hosts=["gpu.example.com", "10.0.0.7"], now=now())
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "gpu.example.com" in names.get_values_for_type(x509.DNSName)
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert {"127.0.0.1", "::1", "10.0.0.7"} <= set(addresses)


def test_the_token_is_made_once_and_is_private(tmp_path):
    token = ensure_token(tmp_path / "token")
    assert len(token) > 40
    assert ensure_token(tmp_path / "token") == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_is_private_and_has_what_a_client_needs(kubeconfig, serving):
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    access = read_kubeconfig(kubeconfig)
    assert access.server == serving.url
    assert access.namespace == "default"
    assert isinstance(access.tls, ssl.SSLContext)
    with pytest.raises(KubeconfigError, match='no context named "other"'):
        read_kubeconfig(kubeconfig, "other")
    with pytest.raises(KubeconfigError, match="cannot read"):
        read_kubeconfig(kubeconfig.parent / "none")


async def test_a_port_in_use_is_named(app, pki):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port} on 127.0.0.1 is in use"):
            async with serve(app, "127.0.0.1", port, pki):
                pytest.fail("it must not serve")


async def test_a_server_that_is_away_is_a_connection_error(kubeconfig, serving):
    async with HttpClient.from_kubeconfig(kubeconfig) as client:
        assert (await client.list(core.NAMESPACE)).items
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    text = kubeconfig.read_text().replace(f":{serving.port}", f":{port}")
    kubeconfig.write_text(text)
    async with HttpClient.from_kubeconfig(kubeconfig) as client:
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await client.list(core.NAMESPACE)


async def test_stopping_does_not_wait_for_those_who_watch(app, pki, tmp_path):
    loop = asyncio.get_running_loop()
    async with serve(app, "127.0.0.1", 0, pki) as serving:
        file = tmp_path / "kubeconfig"
        write_kubeconfig(file, server=serving.url, ca=pki.ca, token=TOKEN)
        client = HttpClient.from_kubeconfig(file)
        await client.create(core.CONFIG_MAP, config_map())
        watch = client.watch(core.CONFIG_MAP, after="1")
        await anext(watch)
        started = loop.time()
    assert loop.time() - started < 20, "nor for the minutes that a watch may last"
    async with asyncio.timeout(30):
        assert [event async for event in watch] == []
    await client.close()


async def test_a_watcher_that_leaves_is_forgotten(http_client, store):
    watch = http_client.watch(core.CONFIG_MAP, after="1")
    created = asyncio.create_task(http_client.create(core.CONFIG_MAP, config_map()))
    await asyncio.wait_for(anext(watch), 30)
    await created
    assert store.watchers == 1
    await watch.aclose()
    async with asyncio.timeout(30):
        while store.watchers:
            await asyncio.sleep(0.01)
