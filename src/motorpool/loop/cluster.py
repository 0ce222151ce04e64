"""What the Kubernetes around the controllers is able to do. Pure.

Each feature is read from the server's version, because nothing else tells of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

IMAGE_VOLUMES_SINCE = (1, 31)
IMAGE_VOLUME_PATHS_SINCE = (1, 33)
IMAGE_VOLUMES_BY_DEFAULT_SINCE = (1, 35)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    version: tuple[int, int] = (0, 0)
    is_embedded: bool = True  # Motorpool's own node mounts images, and knows no shared processes

    @classmethod
    def of_version(cls, document: Mapping[str, Any]) -> "Cluster":
        """From what the server answers at ``/version``.

        A fork may write its minor as ``27+``, and anything into its gitVersion.
        """
        git_version = str(document.get("gitVersion") or "")
        named = re.match(r"v?(\d+)\.(\d+)", git_version)
        said = [re.match(r"\d+", str(document.get(field) or "")) for field in ("major", "minor")]
        if all(said):
            major, minor = (int(found[0]) for found in said if found)
        else:
            major, minor = (int(number) for number in named.groups()) if named else (0, 0)
        return cls(version=(major, minor), is_embedded=git_version.endswith("+motorpool"))

    @property
    def mounts_images(self) -> bool:
        """Whether images can be mounted without anybody having switched it on."""
        return self.is_embedded or self.version >= IMAGE_VOLUMES_BY_DEFAULT_SINCE

    @property
    def doubt_about_images(self) -> tuple[str, str] | None:
        """Reason and message where mounting images may not work; None where it does."""
        if self.mounts_images:
            return None
        version = f"Kubernetes {self.version[0]}.{self.version[1]}"
        if self.version < IMAGE_VOLUMES_SINCE:
            return "ImageVolumeUnsupported", f"{version} has no image volumes"
        if self.version < IMAGE_VOLUME_PATHS_SINCE:
            text = f"{version} mounts no directory of an image, only the whole of it"
            return "ImageVolumeSubPathUnsupported", text
        text = f"{version} mounts images only with the feature gate ImageVolume"
        return "ImageVolumeAlpha", text
