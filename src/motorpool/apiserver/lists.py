"""Pages and filters of a list. Pure."""

import base64
import binascii
from typing import NamedTuple

import msgspec

from motorpool.api.errors import BadRequest
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, labels_of
from motorpool.api.selectors import FieldSelector, LabelSelector


class Filter:
    """The two selectors of one request."""

    def __init__(self, kind: Kind, labels: str, fields: str) -> None:
        self._labels = LabelSelector.parse(labels) if labels else None
        self._fields = FieldSelector.parse(fields, kind) if fields else None
        self.name = self._fields.name if self._fields is not None else None
        """The one name that can match, if the fields say so."""

    @property
    def is_open(self) -> bool:
        return self._labels is None and self._fields is None

    def matches(self, obj: Object) -> bool:
        if self._labels is not None and not self._labels.matches(labels_of(obj)):
            return False
        return self._fields is None or self._fields.matches(obj)


NOW = -1
"""The revision of a list that goes on with whatever is there by then."""


class Continue(NamedTuple):
    """Where a list goes on: after a key, at a revision."""

    revision: int
    start: str

    def token(self) -> str:
        raw = msgspec.json.encode({"v": "meta.k8s.io/v1", "rv": self.revision, "start": self.start})
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    @classmethod
    def parse(cls, token: str) -> "Continue":
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            parsed = msgspec.json.decode(raw)
            return cls(int(parsed["rv"]), str(parsed["start"]))
        except (binascii.Error, msgspec.DecodeError, KeyError, TypeError, ValueError):
            raise BadRequest("continue key is not valid: illegal base64 or JSON") from None
