"""One file for each architecture; this one knows them by the names in config.json."""

from collections.abc import Callable

from motorpool.modelserver.llm.checkpoint.families import (
    bert,
    gemma2,
    granite,
    llama,
    mistral,
    mixtral,
    phi3,
    qwen2,
    qwen3,
)
from motorpool.modelserver.llm.checkpoint.graph import Value
from motorpool.modelserver.llm.checkpoint.network import Network
from motorpool.modelserver.llm.checkpoint.scoring import CROSS_ENCODERS
from motorpool.modelserver.llm.contract import CheckpointError

# From the network with its inputs to the logits, or to the states where it has no head.
Family = Callable[[Network], Value]

FAMILIES: dict[str, Family] = {
    "Gemma2ForCausalLM": gemma2.build,
    "GraniteForCausalLM": granite.build,
    "LlamaForCausalLM": llama.build,
    "MistralForCausalLM": mistral.build,
    "MixtralForCausalLM": mixtral.build,
    "Phi3ForCausalLM": phi3.build,
    "Qwen2ForCausalLM": qwen2.build,
    "Qwen3ForCausalLM": qwen3.build,
}

# Which write nothing.
ENCODERS: dict[str, Family] = {
    "BertModel": bert.build,
    "BertForMaskedLM": bert.build,
    "RobertaModel": bert.build,
    "RobertaForMaskedLM": bert.build,
    "XLMRobertaModel": bert.build,
    "XLMRobertaForMaskedLM": bert.build,
    **dict.fromkeys(sorted(CROSS_ENCODERS), bert.build),
}
# Which are embedded by the states of one that generates.
_WITHOUT_HEAD = {"Qwen3Model": "Qwen3ForCausalLM", "Qwen2Model": "Qwen2ForCausalLM"}
_WITHOUT_HEAD |= {"MistralModel": "MistralForCausalLM", "LlamaModel": "LlamaForCausalLM"}


def family(architecture: str) -> Family:
    found = FAMILIES.get(_WITHOUT_HEAD.get(architecture, architecture)) or ENCODERS.get(
        architecture
    )
    if found is None:
        raise CheckpointError(
            f"architecture {architecture!r} is not known to this engine; "
            f"known are {', '.join(sorted([*FAMILIES, *ENCODERS]))}"
        )
    return found
