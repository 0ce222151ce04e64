"""What the environment says about stores, in the variables that KServe sets. Pure.

STORAGE_CONFIG holds one entry of a storage-config Secret as JSON and STORAGE_OVERRIDE_CONFIG what
the InferenceService puts over it; both go before the single variables.
"""

import fnmatch
import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from motorpool.storage.errors import StorageError

Environment = Mapping[str, str]

CONCURRENCY = 4
CONCURRENCY_MAX = 64
CA_FILE = "cabundle.crt"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How one object store is reached: the store's own settings, and the connection's."""

    config: dict[str, Any] = field(default_factory=dict)
    client: dict[str, Any] = field(default_factory=dict)
    anonymous: bool = False


def s3(env: Environment) -> StoreSettings:
    given = _storage_config(env)
    key = given.get("access_key_id") or env.get("AWS_ACCESS_KEY_ID", "")
    secret = given.get("secret_access_key") or env.get("AWS_SECRET_ACCESS_KEY", "")
    endpoint = given.get("endpoint_url") or s3_endpoint(env)
    region = given.get("region") or env.get("AWS_DEFAULT_REGION") or env.get("AWS_REGION")
    identity = env.get("AWS_WEB_IDENTITY_TOKEN_FILE") or any(
        env.get(name) for name in ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                   "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    )  # fmt: skip
    asked = is_true(given.get("anonymous") or env.get("awsAnonymousCredential"))
    anonymous = asked or not (key or identity)
    virtual = is_true(env.get("S3_USER_VIRTUAL_BUCKET")) or (
        is_true(env.get("S3_USE_ACCELERATE")) and not endpoint
    )
    config: dict[str, Any] = {
        "region": region or "us-east-1",
        "virtual_hosted_style_request": virtual,
    }
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
    if anonymous:
        config["skip_signature"] = True
    elif key:
        config |= {"access_key_id": key, "secret_access_key": secret}
        if env.get("AWS_SESSION_TOKEN"):
            config["session_token"] = env["AWS_SESSION_TOKEN"]
    verify = given.get("verify_ssl", env.get("S3_VERIFY_SSL"))
    return StoreSettings(config, _client(endpoint, verify), anonymous)


def s3_endpoint(env: Environment) -> str:
    """The endpoint with its scheme; empty for Amazon's own."""
    whole = env.get("AWS_ENDPOINT_URL", "")
    if whole:
        return whole
    endpoint = env.get("S3_ENDPOINT", "")
    if not endpoint or "://" in endpoint:
        return endpoint
    scheme = "https" if is_true(env.get("S3_USE_HTTPS", "1")) else "http"
    return f"{scheme}://{endpoint}"


def gcs(env: Environment) -> StoreSettings:
    config: dict[str, Any] = {}
    file = env.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if file:
        config["application_credentials"] = file
    else:
        config["skip_signature"] = True
    endpoint = env.get("STORAGE_EMULATOR_HOST", "")
    if endpoint:
        config["base_url"] = endpoint if "://" in endpoint else f"http://{endpoint}"
    return StoreSettings(config, _client(config.get("base_url", ""), None), not file)


def azure(env: Environment, account: str, endpoint: str = "", signature: str = "") -> StoreSettings:
    """The names with AZ_ are those of older Secrets. A signature in the address goes first."""
    config: dict[str, Any] = {"account_name": account}
    endpoint = env.get("AZURE_STORAGE_ENDPOINT") or endpoint
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
    if signature:
        return StoreSettings({**config, "sas_key": signature}, _client(endpoint, None))
    names = {
        "client_id": ("AZURE_CLIENT_ID", "AZ_CLIENT_ID"),
        "client_secret": ("AZURE_CLIENT_SECRET", "AZ_CLIENT_SECRET"),
        "tenant_id": ("AZURE_TENANT_ID", "AZ_TENANT_ID"),
        "federated_token_file": ("AZURE_FEDERATED_TOKEN_FILE",),
        "account_key": ("AZURE_STORAGE_ACCESS_KEY",),
        "token": ("AZURE_ACCESS_TOKEN",),
        "sas_key": ("AZURE_STORAGE_SAS_TOKEN",),
    }
    found: dict[str, Any] = {}
    for setting, variables in names.items():
        value = next((env[name] for name in variables if env.get(name)), "")
        if value:
            found[setting] = value
    config |= found or {"skip_signature": True}
    if found and env.get("AZURE_AUTHORITY_HOST"):
        config["authority_host"] = env["AZURE_AUTHORITY_HOST"]
    return StoreSettings(config, _client(endpoint, None), not found)


def headers_for(env: Environment, host: str) -> dict[str, str]:
    """The request headers that a Secret gives for *host*. Raises StorageError."""
    name = f"{host}-headers"
    text = env.get(name, "")
    if not text:
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise StorageError(f"{name} is not a JSON object of headers: correct key headers of the "
                           f"Secret with https-host {host}")  # fmt: skip
    return {str(key): str(value) for key, value in document.items()}


def ca_file(env: Environment) -> str:
    """The certificates to trust beside the system's; empty for none."""
    own = env.get("AWS_CA_BUNDLE", "")
    directory = env.get("CA_BUNDLE_VOLUME_MOUNT_POINT", "")
    configured = env.get("AWS_CA_BUNDLE_CONFIGMAP") or env.get("CA_BUNDLE_CONFIGMAP_NAME")
    if own or not (configured and directory):
        return own
    return posixpath.join(directory, CA_FILE)


def verifies(env: Environment) -> bool:
    return not _is_false(_storage_config(env).get("verify_ssl", env.get("S3_VERIFY_SSL")))


def concurrency(env: Environment, kind: str = "s3") -> int:
    """How many files of a store of that kind come at once. Raises StorageError."""
    name = "AZURE_MAX_FILE_CONCURRENCY" if kind == "azure" else "S3_MAX_FILE_CONCURRENCY"
    text = env.get(name, "") or str(CONCURRENCY)
    if not text.isdecimal() or not 1 <= int(text) <= CONCURRENCY_MAX:
        raise StorageError(f"{name} is {text}: set 1 to {CONCURRENCY_MAX}")
    return int(text)


def chosen_by(env: Environment) -> Callable[[str], bool]:
    """Which relative paths are wanted, by STORAGE_ALLOW_PATTERNS and STORAGE_IGNORE_PATTERNS."""
    allowed = _patterns(env, "STORAGE_ALLOW_PATTERNS")
    ignored = _patterns(env, "STORAGE_IGNORE_PATTERNS")

    def chosen(path: str) -> bool:
        if allowed and not any(fnmatch.fnmatchcase(path, p) for p in allowed):
            return False
        return not any(fnmatch.fnmatchcase(path, p) for p in ignored)

    return chosen


def is_true(value: object) -> bool:
    return str(value or "").strip().lower() in ("1", "true", "yes", "on")


def _is_false(value: object) -> bool:
    return str("" if value is None else value).strip().lower() in ("0", "false", "no", "off")


def _client(endpoint: str, verify: object) -> dict[str, Any]:
    client: dict[str, Any] = {}
    if endpoint.startswith("http://"):
        client["allow_http"] = True
    if _is_false(verify):
        client["allow_invalid_certificates"] = True
    return client


def _storage_config(env: Environment) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in ("STORAGE_CONFIG", "STORAGE_OVERRIDE_CONFIG"):
        text = env.get(name, "")
        if not text:
            continue
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise StorageError(f"{name} is not a JSON object: correct the storage-config Secret")
        merged |= document
    return merged


def _patterns(env: Environment, name: str) -> list[str]:
    text = env.get(name, "").strip()
    if not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return [str(part) for part in json.loads(text)]
    except ValueError as error:
        raise StorageError(f"{name} is no JSON list: correct it") from error
