"""Which images stand behind the placeholders of the shipped runtimes. Pure.

In the form of MicroShift's release files: users look an image up in them to write a runtime of
their own. All are public. On this machine the local images table answers for most of them; podman
and clusters pull them.
"""

from collections.abc import Mapping, Sequence

import motorpool
from motorpool.api.meta import Object

_MODH = "quay.io/modh"
IMAGES: Mapping[str, str] = {
    "caikit-standalone-image": f"{_MODH}/caikit-nlp@sha256:"
    "4a271eb9e4e980a3549abb74bdcbcd21ccdabe8e8fd145037d200ecff30f3c79",
    "caikit-tgis-image": f"{_MODH}/caikit-tgis-serving@sha256:"
    "e1dda3e8a0af6375ed3fc353ad3dc7c33d13fef60ceca1c5841c4d4d07a5e1b2",
    "guardrails-detector-huggingface-runtime-image": f"{_MODH}/"
    "odh-trustyai-hf-detector-runtime-rhel9:latest",
    "kserve-agent": "kserve/agent:latest",
    "kserve-router": "kserve/router:latest",
    "kserve-storage-initializer": "kserve/storage-initializer:latest",
    "kube-rbac-proxy": "quay.io/opendatahub/odh-kube-auth-proxy@sha256:"
    "dcb09fbabd8811f0956ef612a0c9ddd5236804b9bd6548a0647d2b531c9d01b3",
    "ovms-image": f"{_MODH}/openvino_model_server@sha256:"
    "3df0eb32dc1d6a403faa68cb7b53f57c165a9dea7a0310dc4fd66e9480ab44f6",
    "ray-tls-generator-image": "registry.redhat.io/ubi9/ubi-minimal:latest",
    "tgis-image": f"{_MODH}/text-generation-inference@sha256:"
    "8419f73485c75b4eb0095d31879cc1a94e2be38a0ece08bc7923cef9cdd9444a",
    "vllm-cpu-image": f"{_MODH}/vllm:rhoai-v2-19-cpu",
    "vllm-cuda-image": f"{_MODH}/vllm@sha256:"
    "280c1be54ab687df0e88f926389ac03697607b09a95bf9f68859d5b90342e83f",
    "vllm-gaudi-image": f"{_MODH}/vllm@sha256:"
    "ea922d54bc4242e04e3ab08022241b36d8499a1d61672c32e5b388883e4ddba3",
    "vllm-rocm-image": f"{_MODH}/vllm@sha256:"
    "af4aa75c8a97d94cc3f7c7fd71735e2c7c06348660cae99ef9bf5a0a720ccd0d",
    "vllm-spyre-image": "quay.io/opendatahub/vllm:fast-spyre",
}
"""Placeholder -> image. Of RHOAI's releases, as far as they are at a public registry."""


def release_info() -> Object:
    """``release.base`` is our own version: these images are of no single release of RHOAI."""
    return {"release": {"base": motorpool.__version__}, "images": dict(IMAGES)}


def kustomize_images(placeholders: Sequence[str]) -> list[Object]:
    """A kustomization's ``images`` for these of the placeholders."""
    found = []
    for name in placeholders:
        image, at, digest = IMAGES[name].partition("@")
        if at:
            found.append({"name": name, "newName": image, "digest": digest})
        else:
            repository, _, tag = image.rpartition(":")
            found.append({"name": name, "newName": repository, "newTag": tag})
    return found
