import pytest

from motorpool.modelserver.flags import MEANING, UsageError, parse, usage
from motorpool.modelserver.layout import Layout

MODEL = ("--model_name=m", "--model_path=/models/m", "--rest_port=8888")

RUNTIME = (
    "--model_name=m",
    "--port=8001",
    "--rest_port=8888",
    "--model_path=/mnt/models",
    "--file_system_poll_wait_seconds=0",
    "--grpc_bind_address=0.0.0.0",
    "--rest_bind_address=0.0.0.0",
    "--target_device=AUTO",
    "--metrics_enable",
    "--layout=NHWC:NCHW",
)


def test_the_flags_of_the_shipped_runtime_are_read():
    settings = parse(RUNTIME)

    assert (settings.port, settings.rest_port) == (8001, 8888)
    assert settings.model_path == "/mnt/models"
    assert settings.file_system_poll_wait_seconds == 0
    assert settings.target_device == "AUTO"
    assert settings.metrics_enable
    assert settings.layout.only == Layout("NHWC", "NCHW")


def test_a_value_may_follow_its_flag_as_a_word_of_its_own():
    assert parse(["--model_name", "m", "--model_path", "/p", "--rest_port", "80"]).rest_port == 80


def test_of_a_flag_given_twice_the_last_one_counts():
    assert parse([*MODEL, "--rest_port=9999"]).rest_port == 9999


@pytest.mark.parametrize("text", ["--metrics_enable", "--metrics_enable=", "--metrics_enable=1"])
def test_a_switch_needs_no_value(text):
    assert parse([*MODEL, text]).metrics_enable


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "t", "T"])
def test_a_switch_can_be_told_to_be_true(text):
    assert parse([*MODEL, f"--metrics_enable={text}"]).metrics_enable


@pytest.mark.parametrize("text", ["false", "False", "FALSE", "f", "F", "0"])
def test_a_switch_can_be_told_to_be_false(text):
    assert not parse([*MODEL, f"--metrics_enable={text}"]).metrics_enable


def test_several_addresses_may_be_given():
    settings = parse([*MODEL, "--rest_bind_address=127.0.0.1, ::1,localhost"])

    assert settings.rest_bind_address == ("127.0.0.1", "::1", "localhost")


def test_no_flags_at_all_ask_for_help():
    assert parse([]).help


def test_help_needs_no_model():
    assert parse(["--help"]).help


def test_help_names_every_flag():
    assert all(f"--{name}" in usage() for name in MEANING)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([*MODEL, "--colour=red"], "unmatched arguments: --colour=red"),
        ([*MODEL, "--a", "b"], "unmatched arguments: --a, b"),
        ([*MODEL, "--metrics_enable", "yes"], "unmatched arguments: yes"),
        ([*MODEL, "--metrics_enable=yes"], "--metrics_enable=yes: is neither true nor false"),
        ([*MODEL, "--nireq"], "option 'nireq' is missing an argument"),
        ([*MODEL, "--nireq=100001"], "from 0 to 100000"),
        ([*MODEL, "--rest_workers=1"], "from 2 to 10000"),
        ([*MODEL, "--port=65536"], "from 0 to 65535"),
        ([*MODEL, "--port=x"], "--port=x"),
        ([*MODEL, "--port=8888"], "port and rest_port cannot have the same values"),
        ([*MODEL, "--log_level=LOUD"], "log_level should be one of: TRACE, DEBUG, INFO, WARNING"),
        ([*MODEL, "--layout=NHWN"], "the layout is in wrong format"),
        ([*MODEL, "--layout=NHWC:NCHW:N"], "the layout is in wrong format"),
        ([*MODEL, "--layout={1}"], "is no JSON object"),
        ([*MODEL, "--plugin_config=[]"], "should be a JSON object"),
        ([*MODEL, "--rest_bind_address=a b"], "has invalid format"),
        ([*MODEL, "--metrics_list=ovms_streams"], "metrics_enable setting is missing"),
        ([*MODEL, "--metrics_enable", "--metrics_list=x"], "there is no metric named x"),
        ([*MODEL, "--config_path=c"], "Use either config_path or model_path with model_name"),
        (
            ["--rest_port=1", "--config_path=c", "--nireq=2"],
            "Model parameters in CLI are exclusive with the config file",
        ),
        ([*MODEL, "--pull"], "this server has no generative models"),
        ([*MODEL, "--source_model=a/b"], "this server has no generative models"),
        ([*MODEL, "--model_version_policy={}"], "Model version policy is in wrong format"),
        ([*MODEL, '--model_version_policy={"some":{}}'], "contains unsupported key"),
        ([*MODEL, "--shape=(1,x)"], "the shape is in wrong format"),
        ([*MODEL, "--shape={}"], "names no input"),
        ([*MODEL, "--batch_size=0"], "from 1"),
        ([*MODEL, "--precision=uint8"], "should be two of"),
        ([*MODEL, "--mean=[1,x]"], "should be a number"),
        ([*MODEL, "--mean=1"], "need a layout"),
        ([*MODEL, "--grpc_channel_arguments=x"], "should be name=value"),
        ([*MODEL, "--allowed_origins=\n"], "what a header can hold"),
        (["--rest_port=1"], "Use config_path or model_path with model_name"),
        (["--model_name=m", "--model_path=p"], "port and rest_port cannot both be unset"),
        (
            ["--model_name=m", "--model_path=p", "--port=1", "--metrics_enable"],
            "rest_port setting is missing, metrics are enabled on rest port",
        ),
    ],
)
def test_a_wrong_command_line_is_refused_with_its_reason(flags, message):
    with pytest.raises(UsageError) as refusal:
        parse(flags)

    assert message in str(refusal.value)


def test_flags_of_openvino_model_server_without_a_meaning_here_are_taken_and_named():
    flags = ["--grpc_workers=4", "--stateful", "--api_key_file", "/key", "--verbose_response=true"]

    settings = parse([*MODEL, *flags])

    assert settings.without_effect == (
        "grpc_workers",
        "stateful",
        "api_key_file",
        "verbose_response",
    )


def test_what_is_done_to_pixels_is_read():
    settings = parse(
        [
            *MODEL,
            "--layout=NHWC:NCHW",
            "--precision=uint8:fp32",
            "--color_format=RGB:BGR",
            "--mean=[1,2,3]",
            "--scale=255",
            "--batch_size=1:8",
        ]
    )

    assert settings.precision == ("u8", "f32")
    assert settings.color_format == ("RGB", "BGR")
    assert (settings.mean, settings.scale) == ((1.0, 2.0, 3.0), (255.0,))
    assert settings.batch_size == (1, 8)


def test_arguments_of_grpc_are_numbers_or_texts():
    settings = parse([*MODEL, "--grpc_channel_arguments=grpc.max_concurrent_streams=4,a.b=c"])

    assert settings.grpc_channel_arguments == (("grpc.max_concurrent_streams", 4), ("a.b", "c"))


def test_a_command_line_of_kserves_servers_is_understood():
    words = ["--model_dir=/mnt/models", "--model_name=m", "--http_port", "8080", "--workers=2"]
    words += ["--grpc_port=8081", "--enable_grpc", "true", "--max_threads=4", "--protocol", "v2"]

    settings = parse([*words, "--timeout-keep-alive=65", "--predictor_request_retries=1"])

    assert (settings.model_path, settings.rest_port, settings.port) == ("/mnt/models", 8080, 8081)
    assert settings.without_effect == (
        "workers", "enable_grpc", "max_threads", "protocol", "timeout-keep-alive",
        "predictor_request_retries",
    )  # fmt: skip
