"""What a cluster can do, from its version."""

import pytest

from motorpool.loop.cluster import Cluster


@pytest.mark.parametrize(
    ("document", "version"),
    [
        ({"gitVersion": "v1.33.4"}, (1, 33)),
        ({"gitVersion": "v1.27.3-gke.100", "major": "1", "minor": "27"}, (1, 27)),
        ({"gitVersion": "v1.35.0+k3s1"}, (1, 35)),
        ({"major": "1", "minor": "31+"}, (1, 31)),
        ({"major": "1", "minor": "36", "gitVersion": "v0.0.0-master+8e16b"}, (1, 36)),
        ({}, (0, 0)),
    ],
)
def test_the_version_is_read_from_what_servers_say(document, version):
    cluster = Cluster.of_version(document)
    assert (cluster.version, cluster.is_embedded) == (version, False)


def test_our_own_server_is_known_by_its_build():
    cluster = Cluster.of_version({"gitVersion": "v1.32.0+motorpool"})
    assert cluster.is_embedded
    assert cluster.mounts_images
    assert cluster.doubt_about_images is None


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("v1.30.0", "ImageVolumeUnsupported"),
        ("v1.31.0", "ImageVolumeSubPathUnsupported"),
        ("v1.32.9", "ImageVolumeSubPathUnsupported"),
        ("v1.33.0", "ImageVolumeAlpha"),
        ("v1.34.0", "ImageVolumeAlpha"),
        ("v1.35.0", None),
        ("v2.0.0", None),
    ],
)
def test_what_is_doubtful_about_image_volumes(version, reason):
    doubt = Cluster.of_version({"gitVersion": version}).doubt_about_images
    assert (doubt and doubt[0]) == reason
