"""vLLM's flags that change nothing here: for GPUs, clusters, or what this engine does by itself.

They are taken, so that a command line for vLLM works as it is, and are named once in a warning.
"""

SWITCHES = (
    "allow-deprecated-quantization", "async-scheduling", "calculate-kv-scales",
    "disable-access-log", "disable-async-output-proc", "disable-cascade-attn",
    "disable-chunked-mm-input", "disable-custom-all-reduce", "disable-frontend-multiprocessing",
    "disable-hybrid-kv-cache-manager", "disable-log-requests", "disable-mm-preprocessor-cache",
    "disable-nccl-for-dp-synchronization", "disable-sliding-window", "enable-chunked-prefill",
    "enable-cudagraph-gc", "enable-dbo", "enable-eplb", "enable-expert-parallel",
    "enable-layerwise-nvtx-tracing", "enable-log-deltas", "enable-lora", "enable-lora-bias",
    "enable-log-outputs", "enable-log-requests", "enable-logging-iteration-details",
    "enable-mfu-metrics", "enable-mm-embeds", "enable-multimodal-encoder-data-parallel",
    "enable-offline-docs", "enable-prompt-embeds", "enable-return-routed-experts",
    "enable-server-load-tracking", "enable-sleep-mode", "enable-ssl-refresh",
    "enable-tokenizer-info-endpoint", "enforce-eager", "eplb-log-balancedness",
    "fully-sharded-loras", "guided-decoding-disable-additional-properties",
    "guided-decoding-disable-any-whitespace", "guided-decoding-disable-fallback", "headless",
    "interleave-mm-strings", "kv-cache-metrics", "kv-sharing-fast-prefill", "log-error-stack",
    "language-model-only", "multi-step-stream-outputs", "numa-bind", "ray-workers-use-nsight",
    "scheduler-reserve-full-isl", "skip-mm-profiling", "skip-tokenizer-init", "tokens-only",
    "trust-remote-code", "use-tqdm-on-load", "use-v2-block-manager", "disable-fastapi-docs",
    "disable-uvicorn-access-log", "data-parallel-hybrid-lb", "data-parallel-external-lb",
    "enable-prompt-tokens-details",
)  # fmt: skip

VALUES = (
    "additional-config", "all2all-backend", "allowed-local-media-path", "allowed-media-domains",
    "api-server-count", "attention-backend", "attention-config", "block-size", "code-revision",
    "collect-detailed-traces", "compilation-config", "config-format",
    "cp-kv-cache-interleave-size", "cpu-offload-gb", "cuda-graph-sizes",
    "cudagraph-capture-sizes", "data-parallel-address", "data-parallel-backend",
    "data-parallel-rank", "data-parallel-rpc-port", "data-parallel-size",
    "data-parallel-size-local", "data-parallel-start-rank", "dbo-decode-token-threshold",
    "dbo-prefill-token-threshold", "dcp-comm-backend", "decode-context-parallel-size",
    "default-mm-loras", "device", "disable-access-log-for-endpoints",
    "distributed-executor-backend", "download-dir", "ec-transfer-config", "eplb-config",
    "eplb-step-interval", "eplb-window-size", "expert-placement-strategy", "fingerprint-mode",
    "gpu-memory-utilization", "grpc-port",
    "guided-decoding-backend", "h11-max-header-count", "h11-max-incomplete-event-size",
    "hf-config-path", "hf-token", "ignore-patterns", "io-processor-plugin",
    "kernel-config", "kv-cache-metrics-sample", "kv-events-config", "kv-offloading-backend",
    "kv-offloading-size", "kv-transfer-config", "limit-mm-per-prompt", "load-format",
    "log-config-file", "logits-processor-pattern", "logits-processors", "logprobs-mode",
    "long-lora-scaling-factors", "long-prefill-token-threshold", "lora-dtype",
    "lora-extra-vocab-size", "mamba-block-size", "mamba-cache-dtype", "mamba-cache-mode",
    "mamba-ssm-cache-dtype", "master-addr", "master-port", "max-cpu-loras",
    "max-cudagraph-capture-size", "max-log-len", "max-logprobs", "max-long-partial-prefills",
    "max-lora-rank", "max-loras", "max-num-partial-prefills", "max-parallel-loading-workers",
    "max-seq-len-to-capture", "media-io-kwargs", "middleware", "mm-encoder-attn-backend",
    "mm-encoder-tp-mode", "mm-processor-cache-gb", "mm-processor-cache-type",
    "mm-processor-kwargs", "mm-shm-cache-max-object-size-mb", "model-impl",
    "model-loader-extra-config", "moe-backend", "nnodes", "node-rank", "num-gpu-blocks-override",
    "num-lookahead-slots", "num-redundant-experts", "num-scheduler-steps",
    "numa-bind-cpus", "numa-bind-nodes", "optimization-level", "otlp-traces-endpoint",
    "override-attention-dtype", "override-neuron-config",
    "performance-mode", "pipeline-parallel-size", "preemption-mode",
    "prefill-context-parallel-size", "prefix-caching-hash-algo", "profiler-config",
    "pt-load-map-location", "qlora-adapter-name-or-path", "reasoning-config",
    "reasoning-parser-plugin", "revision",
    "safetensors-load-strategy", "scheduler-cls", "scheduler-delay-factor", "scheduling-policy",
    "show-hidden-metrics-for-version", "speculative-config", "ssl-ca-certs",
    "ssl-cert-reqs", "ssl-ciphers", "sse-keep-alive-interval", "stream-interval",
    "structured-outputs-config", "swap-space", "tensor-parallel-size",
    "tokenizer-mode", "tokenizer-pool-extra-config", "tokenizer-pool-size",
    "tokenizer-pool-type", "tokenizer-revision", "tool-parser-plugin", "tool-server",
    "video-pruning-rate", "weight-transfer-config", "worker-cls", "worker-extension-cls",
)  # fmt: skip

SEVERAL = frozenset(
    {"cuda-graph-sizes", "cudagraph-capture-sizes", "ignore-patterns", "logits-processors",
     "allowed-media-domains", "long-lora-scaling-factors", "numa-bind-cpus", "numa-bind-nodes"}
)  # fmt: skip
"""Of VALUES, those that take several words."""

SHORT = {
    "tensor-parallel-size": "-tp",
    "pipeline-parallel-size": "-pp",
    "data-parallel-size": "-dp",
    "decode-context-parallel-size": "-dcp",
    "prefill-context-parallel-size": "-pcp",
    "data-parallel-rank": "-dpn",
    "data-parallel-size-local": "-dpl",
    "data-parallel-address": "-dpa",
    "data-parallel-rpc-port": "-dpp",
    "data-parallel-backend": "-dpb",
    "data-parallel-start-rank": "-dpr",
    "data-parallel-hybrid-lb": "-dph",
    "data-parallel-external-lb": "-dpe",
    "api-server-count": "-asc",
    "node-rank": "-r",
    "nnodes": "-n",
    "enable-expert-parallel": "-ep",
    "attention-config": "-ac",
    "compilation-config": "-cc",
    "speculative-config": "-sc",
}

QUIET = frozenset(
    {"trust-remote-code", "load-format", "download-dir", "device",
     "disable-log-requests", "enable-log-requests", "max-log-len", "max-logprobs",
     "disable-fastapi-docs", "disable-uvicorn-access-log", "enable-chunked-prefill",
     "tokenizer-mode", "use-tqdm-on-load"}
)  # fmt: skip
"""Not worth a warning: this engine does what they ask for, or they ask for what cannot differ."""
