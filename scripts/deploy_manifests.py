"""Writes the parts of deploy/ that follow from the source; with --check, says what is not current.

python scripts/deploy_manifests.py [--check]
"""

import sys
from pathlib import Path

import yaml

from motorpool.api import serving
from motorpool.api.customresources import definition_of
from motorpool.api.meta import Object
from motorpool.controllers.servingruntime.configuration import config_map
from motorpool.controllers.servingruntime.install import shipped_objects

NAMESPACE = "redhat-ods-applications"
DEPLOY = Path(__file__).parents[1] / "deploy"


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def texts() -> dict[str, str]:
    crds = {f"crds/{kind.plural}.yaml": _yaml([definition_of(kind)]) for kind in serving.KINDS}
    runtimes = [
        obj
        for kind, obj in shipped_objects(NAMESPACE, cluster_runtimes=True)
        if kind == serving.CLUSTER_SERVING_RUNTIME
    ]
    return {
        **crds,
        "runtimes/clusterservingruntimes.yaml": _yaml(runtimes),
        "operator/configuration.yaml": _yaml([config_map(NAMESPACE)]),
    }


def _yaml(objects: list[Object]) -> str:
    return yaml.dump_all(objects, Dumper=Dumper, sort_keys=False, width=100)


def main() -> int:
    stale = []
    for name, text in texts().items():
        file = DEPLOY / name
        if file.exists() and file.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"not current, run scripts/deploy_manifests.py: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
