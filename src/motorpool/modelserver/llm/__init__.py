"""The engine for language models: Hugging Face checkpoints behind vLLM's interface, on a CPU.

    checkpoint/  config.json and safetensors -> a graph that the engine runs
    engine/      the process that runs it, and this side of the queue to it
    api/         vLLM's HTTP interface: requests, templates, tools, answers, metrics

Rules: `contract.py` is all that the three know of one another. Tokens are integers here; text is
the business of `api/`.
"""
