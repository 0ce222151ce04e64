"""The flags that OpenVINO Model Server and KServe's own servers have beside those that are ours."""

WITHOUT_EFFECT = (
    # What grpcio and Granian size by themselves.
    "grpc_workers",
    "grpc_max_threads",
    # Debugging builds, and what was dropped.
    "trace_path",
    "verbose_response",
    "stateful",
    "idle_sequence_cleanup",
    "max_sequence_number",
    "low_latency_transformation",
    "sequence_cleaner_poll_wait_minutes",
    "custom_node_resources_cleaner_interval_seconds",
    # What protects generative endpoints, of which there are none.
    "allowed_local_media_path",
    "allowed_media_domains",
    "api_key_file",
    # Of KServe's servers: what is sized by itself, logged in one way, or asked of no predictor.
    "workers",
    "max_threads",
    "max_asyncio_workers",
    "enable_grpc",
    "enable_docs_url",
    "enable_latency_logging",
    "configure_logging",
    "log_config_file",
    "access_log_format",
    "grpc_max_send_message_length",
    "grpc_max_receive_message_length",
    "event-loop",
    "event_loop",
    "timeout-keep-alive",
    "timeout_keep_alive",
    "protocol",
    "predictor_host",
    "predictor_protocol",
    "predictor_use_ssl",
    "predictor_request_timeout_seconds",
    "predictor_request_retries",
    "enable_predictor_health_check",
)
"""Taken with a warning, so that a command line for another server works here."""

SWITCHES_WITHOUT_EFFECT = (
    "verbose_response",
    "stateful",
    "idle_sequence_cleanup",
    "low_latency_transformation",
)
GENERATIVE = (
    "pull",
    "source_model",
    "model_repository_path",
    "gguf_filename",
    "overwrite_models",
    "weight-format",
    "extra_quantization_params",
    "list_models",
    "configure",
    "add_to_config",
    "remove_from_config",
)
"""Refused by name: nothing here could do what they ask for."""

ALIASES = {
    "model_dir": "model_path",
    "http_port": "rest_port",
    "grpc_port": "port",
    "framework": "model_format",
}
"""What KServe's own servers call their flags -> OpenVINO Model Server's name."""
