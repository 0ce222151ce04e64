"""What can go wrong with an image, in Kubernetes' words.

ImageError            reason is one of REASONS; the message names the next step
  DigestMismatch      bytes are not what their digest promises
  RefusedContent      the image holds something that must not reach the disk
Cancelled             whoever asked went away; nobody is told
"""

INVALID_NAME = "InvalidImageName"
NEVER_PULL = "ErrImageNeverPull"
PULL = "ErrImagePull"
REASONS = (INVALID_NAME, NEVER_PULL, PULL)


class ImageError(Exception):
    """A sentence for the user, and the reason that a pod's container status carries."""

    def __init__(self, message: str, *, reason: str = PULL) -> None:
        super().__init__(message)
        self.reason = reason


class DigestMismatch(ImageError):
    pass


class RefusedContent(ImageError):
    pass


class Cancelled(Exception):
    pass
