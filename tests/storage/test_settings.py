import pytest

from motorpool.storage import settings
from motorpool.storage.errors import StorageError

KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


def test_an_endpoint_without_scheme_gets_it_from_use_https():
    assert settings.s3_endpoint({"S3_ENDPOINT": "minio:9000", "S3_USE_HTTPS": "0"}) == (
        "http://minio:9000"
    )
    assert settings.s3_endpoint({"S3_ENDPOINT": "minio:9000"}) == "https://minio:9000"
    assert settings.s3_endpoint({"S3_ENDPOINT": "http://minio", "S3_USE_HTTPS": "1"}) == (
        "http://minio"
    )


def test_keys_sign_and_their_absence_is_anonymous():
    assert settings.s3(KEYS).config["access_key_id"] == "k"
    assert not settings.s3(KEYS).anonymous
    assert settings.s3({}).config["skip_signature"] is True
    assert settings.s3({**KEYS, "awsAnonymousCredential": "true"}).anonymous


def test_a_web_identity_is_no_anonymous_access():
    found = settings.s3({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn"})
    assert "skip_signature" not in found.config


def test_a_storage_config_entry_goes_before_the_variables_and_overrides_before_it():
    env = {
        **KEYS,
        "STORAGE_CONFIG": '{"type":"s3","access_key_id":"c","secret_access_key":"d",'
        '"endpoint_url":"http://one","region":"eu"}',
        "STORAGE_OVERRIDE_CONFIG": '{"region":"us"}',
    }
    config = settings.s3(env).config
    assert (config["access_key_id"], config["endpoint"], config["region"]) == (
        "c", "http://one", "us",
    )  # fmt: skip
    assert settings.s3(env).client == {"allow_http": True}


def test_verification_is_switched_off_by_name_only():
    assert settings.s3({**KEYS, "S3_VERIFY_SSL": "0"}).client == {
        "allow_invalid_certificates": True
    }
    assert settings.s3({**KEYS, "S3_VERIFY_SSL": ""}).client == {}
    assert not settings.verifies({"STORAGE_CONFIG": '{"verify_ssl":"false"}'})


def test_a_broken_storage_config_is_said():
    with pytest.raises(StorageError, match="STORAGE_CONFIG is not a JSON object"):
        settings.s3({"STORAGE_CONFIG": "{"})


def test_azure_takes_both_spellings_and_nothing_is_anonymous():
    assert settings.azure({"AZ_CLIENT_ID": "a"}, "acc").config == {
        "account_name": "acc", "client_id": "a",
    }  # fmt: skip
    assert settings.azure({}, "acc").anonymous
    assert settings.azure({"AZURE_STORAGE_ACCESS_KEY": "k"}, "acc").config["account_key"] == "k"


def test_google_needs_a_file_or_reads_what_is_public():
    assert settings.gcs({}).config == {"skip_signature": True}
    env = {"GOOGLE_APPLICATION_CREDENTIALS": "/var/secrets/g.json"}
    assert settings.gcs(env).config == {"application_credentials": "/var/secrets/g.json"}


def test_the_bundle_is_the_named_file_or_the_mounted_one():
    mounted = {"CA_BUNDLE_VOLUME_MOUNT_POINT": "/etc/ssl/custom-certs"}
    assert settings.ca_file({}) == ""
    assert settings.ca_file({"AWS_CA_BUNDLE": "/a.crt", **mounted}) == "/a.crt"
    assert settings.ca_file({"CA_BUNDLE_CONFIGMAP_NAME": "x", **mounted}) == (
        "/etc/ssl/custom-certs/cabundle.crt"
    )


def test_headers_are_those_of_the_host_alone():
    env = {"h.example-headers": '{"authorization": "Bearer t"}'}
    assert settings.headers_for(env, "h.example") == {"authorization": "Bearer t"}
    assert settings.headers_for(env, "other") == {}
    with pytest.raises(StorageError, match="JSON object of headers"):
        settings.headers_for({"h-headers": "a: b"}, "h")


@pytest.mark.parametrize("text", ['["*.onnx"]', "*.onnx", " *.onnx , *.xml"])
def test_patterns_are_a_json_list_or_separated_by_commas(text):
    chosen = settings.chosen_by({"STORAGE_ALLOW_PATTERNS": text})
    assert chosen("1/model.onnx")
    assert not chosen("README.md")


def test_what_is_ignored_is_left_out():
    chosen = settings.chosen_by({"STORAGE_IGNORE_PATTERNS": "*.md"})
    assert [p for p in ("a.md", "b.bin") if chosen(p)] == ["b.bin"]


@pytest.mark.parametrize("text", ["0", "many", "1000"])
def test_a_senseless_concurrency_is_refused(text):
    with pytest.raises(StorageError, match="set 1 to 64"):
        settings.concurrency({"S3_MAX_FILE_CONCURRENCY": text})
