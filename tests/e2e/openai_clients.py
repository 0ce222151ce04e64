"""The openai client, connected to the host of a Route."""

import ssl
from typing import Any

import httpx
import openai

from tests.platform import Platform


def client_of(
    platform: Platform, route: dict[str, Any], version: str = "v1", token: str = "none"
) -> openai.OpenAI:
    """*route* is admitted; *version* is the path that the client's calls begin with."""
    host, tls = route["status"]["ingress"][0]["host"], "tls" in route["spec"]
    context = ssl.create_default_context(cafile=str(platform.data_dir / "pki" / "ca.crt"))

    def to_host(request: httpx.Request) -> None:
        request.headers["host"] = host
        request.extensions["sni_hostname"] = host

    http = httpx.Client(verify=context, event_hooks={"request": [to_host]}, timeout=30)
    base = platform.endpoints["https" if tls else "http"]
    return openai.OpenAI(
        base_url=f"{base}/{version}", api_key=token, http_client=http, max_retries=0
    )
