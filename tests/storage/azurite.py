"""Azurite, Microsoft's own emulator of Azure Blob Storage, as a process; what it is filled with."""

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate

import httpx

from tests.programs import program

ACCOUNT = "models"
KEY = base64.b64encode(b"k" * 64).decode()
VERSION = "2021-08-06"


@dataclass(frozen=True, slots=True)
class Container:
    """A container of the account, filled with the account's key."""

    endpoint: str
    name: str

    @property
    def url(self) -> str:
        """The address as users write it; the endpoint is told by a variable."""
        return f"https://{ACCOUNT}.blob.core.windows.net/{self.name}"

    @property
    def env(self) -> dict[str, str]:
        return {"AZURE_STORAGE_ENDPOINT": self.endpoint, "AZURE_STORAGE_ACCESS_KEY": KEY}

    def create(self, *, public: bool = False) -> None:
        access = {"x-ms-blob-public-access": "container"} if public else {}
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION, **access}
        told = "\n".join(f"{name}:{headers[name]}" for name in sorted(headers))
        resource = f"/{ACCOUNT}/{ACCOUNT}/{self.name}\nrestype:container"
        headers["authorization"] = f"SharedKey {ACCOUNT}:" + _signed(
            "PUT" + "\n" * 12 + f"{told}\n{resource}"
        )
        url = f"{self.endpoint}/{self.name}?restype=container"
        httpx.put(url, headers=headers).raise_for_status()

    def put(self, path: str, content: bytes) -> None:
        signature = self.signature("rwl")
        url = f"{self.endpoint}/{self.name}/{urllib.parse.quote(path)}?{signature}"
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": VERSION}
        httpx.put(url, headers=headers, content=content).raise_for_status()

    def signature(self, permissions: str = "rl", key: str = KEY) -> str:
        """A shared access signature of the whole container."""
        until = "2099-01-01T00:00:00Z"
        name = f"/blob/{ACCOUNT}/{self.name}"
        fields = [permissions, "", until, name, "", "", "", VERSION, "c", *[""] * 7]
        return urllib.parse.urlencode({"sp": permissions, "se": until, "sv": VERSION, "sr": "c",
                                       "sig": _signed("\n".join(fields), key)})  # fmt: skip


def _signed(text: str, key: str = KEY) -> str:
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


@contextlib.contextmanager
def azurite() -> Iterator[str]:
    """Gives the account's endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    process = subprocess.Popen(
        [program("azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 5).close()
                break
            assert process.poll() is None, "azurite ended"
            assert time.monotonic() < deadline, "azurite does not answer"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        process.terminate()
        process.wait(10)
