"""Writes src/motorpool/api/data/protobuf.json: how the Kubernetes messages look on the wire.

Usage: python scripts/protobuf_fields.py FIELDS.tsv

The input has one line per field, tab separated: message, number, name, cardinality (opt, rep or
map), type (of a map: key,value), and 1 where Go's field is a pointer, so that an absent value is
not the same as a zero. The output holds one short string per message, one term per field:

    NUMBER [FLAGS]NAME TYPE     flags: * repeated, % map, ? pointer, + inlined in JSON
"""

import json
import sys
from pathlib import Path

OUTPUT = Path(__file__).parent.parent / "src/motorpool/api/data/protobuf.json"

# Messages that Go embeds: their fields stand in the parent's JSON.
INLINED = {
    ("core.v1.Volume", "volumeSource"),
    ("core.v1.PersistentVolumeSpec", "persistentVolumeSource"),
    ("core.v1.Probe", "handler"),
    ("core.v1.EphemeralContainer", "ephemeralContainerCommon"),
    ("networking.v1.IngressRule", "ingressRuleValue"),
    *(
        (f"core.v1.{kind}{use}", "localObjectReference")
        for kind, use in (
            ("ConfigMap", "EnvSource"),
            ("ConfigMap", "KeySelector"),
            ("ConfigMap", "Projection"),
            ("ConfigMap", "VolumeSource"),
            ("Secret", "EnvSource"),
            ("Secret", "KeySelector"),
            ("Secret", "Projection"),
        )
    ),
}

# Where the wire's name is not the name in JSON.
RENAMED = {
    ("authentication.v1.BoundObjectReference", "uID"): "uid",
    ("networking.v1.IngressClassParametersReference", "aPIGroup"): "apiGroup",
}

FLAGS = {"opt": "", "rep": "*", "map": "%"}


def shortened(name: str) -> str:
    for prefix in ("k8s.io.api.", "k8s.io.apimachinery.pkg.apis.", "k8s.io.apimachinery.pkg."):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def main(path: str) -> None:
    messages: dict[str, list[str]] = {}
    for line in Path(path).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        message, number, name, cardinality, kind, pointer = line.split("\t")
        message = shortened(message)
        if message.startswith("testapigroup."):
            continue
        flags = FLAGS[cardinality] + ("?" if pointer == "1" else "")
        if (message, name) in INLINED:
            flags += "+"
        name = RENAMED.get((message, name), name)
        kind = ",".join(shortened(part) for part in kind.split(","))
        messages.setdefault(message, []).append(f"{number} {flags}{name} {kind}")
    lines = [f"{json.dumps(name)}: {json.dumps(';'.join(messages[name]))}" for name in messages]
    OUTPUT.write_text("{\n" + ",\n".join(sorted(lines)) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
