"""Graphs that came with the checkpoint, as optimum-intel exports them and OpenVINO Model Server
serves them: `openvino_model.xml` with its weights, in the place of safetensors.
"""

from pathlib import Path

from motorpool.modelserver.llm.contract import CheckpointError, CheckpointOptions

GRAPH, WEIGHTS = "openvino_model.xml", "openvino_model.bin"  # the names that the engine opens
OF_IMAGES = "openvino_language_model.xml"

# What a graph has that remembers a text; of it the engine makes its paged attention.
_REMEMBERS = (b'type="ReadValue"', b"beam_idx")


def is_exported(checkpoint: Path) -> bool:
    """Where there are safetensors too, those count."""
    if not any((checkpoint / name).is_file() for name in (GRAPH, OF_IMAGES)):
        return False
    return next(checkpoint.glob("*.safetensors"), None) is None


def check(checkpoint: Path, options: CheckpointOptions) -> None:
    """Raises CheckpointError where the engine could not run the graph."""
    if not (checkpoint / GRAPH).is_file():
        raise CheckpointError(
            f"{checkpoint} has {OF_IMAGES}: a model of images and text, which is not served"
        )
    if not (checkpoint / WEIGHTS).is_file():
        raise CheckpointError(f"{checkpoint} has {GRAPH} without {WEIGHTS}; is it whole?")
    if options.quantization != "none":
        raise CheckpointError(
            f"--quantization {options.quantization} is for safetensors: the weights of {GRAPH} "
            "have the bits that they were exported with"
        )
    if options.embeds:
        raise CheckpointError(f"{GRAPH} is for text: embeddings are made of safetensors")
    try:
        text = (checkpoint / GRAPH).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{checkpoint / GRAPH} cannot be read: {error}") from error
    if not all(mark in text for mark in _REMEMBERS):
        raise CheckpointError(
            f"{checkpoint / GRAPH} does not remember what it has read: export it for "
            "text-generation-with-past; exported embeddings and rerankers are not served, "
            "their safetensors are"
        )
