"""Writes deploy/crds/*.yaml: the definitions of Motorpool's serving kinds, for other clusters.

Usage: python scripts/serving_crds.py
"""

from pathlib import Path

import yaml

from motorpool.api import static_definitions

OUTPUT = Path(__file__).parent.parent / "deploy/crds"


class Plain(yaml.SafeDumper):
    """Writes what occurs twice twice: API servers take no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def files() -> dict[str, str]:
    """File name -> its text."""
    found = {
        f"{name}.yaml": yaml.dump(static_definitions.full(kind), Dumper=Plain, sort_keys=True)
        for name, kind in static_definitions.kinds().items()
        if kind.group == static_definitions.SERVING
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(found),
    }
    return {**found, "kustomization.yaml": yaml.dump(kustomization, sort_keys=False)}


def main() -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (OUTPUT / name).write_text(text)
        print(f"{name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
