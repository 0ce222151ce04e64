"""How long to wait before the next try. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubles from *first_s* to *most_s*."""

    first_s: float
    most_s: float

    def delay_s(self, failures: int) -> float:
        """The wait after that many failures in a row; 0 after none."""
        if failures <= 0:
            return 0.0
        return min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 63))
