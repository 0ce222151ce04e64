"""vLLM's HTTP interface over the `Engine` of `llm/contract.py`.

The middle is pure: requests to samplings, messages to text, tokens to text, text to tool calls.
The edges are `http` (one RSGI application), `generation` (the engine's events) and `server` (the
process). Nothing here loads a model.
"""
