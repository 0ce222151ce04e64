"""The token of this installation, and the kubeconfig that carries it to clients."""

import base64
import secrets
from pathlib import Path

from motorpool.base.atomicfile import write_atomically

TOKEN_BYTES = 32


def ensure_token(file: Path) -> str:
    """The token in *file*, made on first use. Raises OSError."""
    try:
        token = file.read_text().strip()
    except FileNotFoundError:
        token = ""
    if not token:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        write_atomically(file, f"{token}\n".encode(), mode=0o600)
    return token


def write_kubeconfig(
    file: Path, *, server: str, ca: Path, token: str, user: str = "motorpool"
) -> None:
    """Replaces *file* in one step, readable by its owner alone. Raises OSError."""
    import yaml

    authority = base64.b64encode(ca.read_bytes()).decode()
    name = "motorpool"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": user, "namespace": "default"}}
        ],
        "current-context": name,
    }
    text = yaml.safe_dump(config, sort_keys=False)
    write_atomically(file, text.encode(), mode=0o600)
