"""`mapping_config.json`: other names for a model's tensors. Pure.

`{"inputs": {"Input:0": "image"}, "outputs": {"Softmax:0": "classes"}}`, in the directory of the
version. Clients, metadata and flags know the second name only, as in OpenVINO Model Server.
"""

import msgspec

FILE = "mapping_config.json"


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}


def parse_mapping(content: bytes) -> Mapping:
    """Raises ValueError."""
    try:
        return msgspec.json.decode(content, type=Mapping)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{FILE} is in wrong format: {error}") from None


def renamed(names: list[str], mapping: dict[str, str]) -> list[str]:
    """The new name of each. Raises ValueError where the two do not go together."""
    if unknown := sorted(set(mapping) - set(names)):
        raise ValueError(f"{FILE} names what the model does not have: {', '.join(unknown)}")
    new = [mapping.get(name, name) for name in names]
    if len(set(new)) != len(new):
        raise ValueError(f"{FILE} gives one name to two tensors: {', '.join(sorted(new))}")
    return new
