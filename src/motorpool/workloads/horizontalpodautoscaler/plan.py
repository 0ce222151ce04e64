"""From what the metrics ask for to what is done: windows, rates and bounds. Pure.

Theory: a recommendation is not followed at once. Downwards the highest one of a window counts, so
that a pause between two requests removes nothing; with behavior upwards the lowest. Then policies
bound how much may change in a period, and last the user's bounds hold. Each step that changes the
number says so in a condition.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from motorpool.api.meta import Object, at

DOWN_WINDOW_S = 300
_UP_FACTOR = 2
_UP_LEAST = 4


@dataclass(frozen=True, slots=True)
class Note:
    """A condition: its reason and its message."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(slots=True)
class History:
    """What an autoscaler recommended and did; the oldest first."""

    recommended: list[tuple[datetime, int]] = field(default_factory=list)
    changes: list[tuple[datetime, int]] = field(default_factory=list)  # + added, - removed

    def forget(self, before: datetime) -> None:
        self.recommended = [entry for entry in self.recommended if entry[0] >= before]
        self.changes = [entry for entry in self.changes if entry[0] >= before]

    def lowest(self, since: datetime) -> int | None:
        return min((number for moment, number in self.recommended if moment >= since), default=None)

    def highest(self, since: datetime) -> int | None:
        return max((number for moment, number in self.recommended if moment >= since), default=None)

    def added(self, since: datetime) -> int:
        return sum(change for moment, change in self.changes if moment > since and change > 0)

    def removed(self, since: datetime) -> int:
        return -sum(change for moment, change in self.changes if moment > since and change < 0)


@dataclass(frozen=True, slots=True)
class Decision:
    replicas: int
    notes: Sequence[Note]


def decide(
    spec: Object, current: int, recommended: int, history: History, now: datetime
) -> Decision:
    """What *recommended* comes to; it is the last entry of the history from now on."""
    if not history.recommended:  # What runs at our start was somebody's recommendation.
        history.recommended.append((now, current))
    history.recommended.append((now, recommended))
    if spec.get("behavior"):
        stable, note = _stabilized(spec["behavior"], current, recommended, history, now)
        limited = _with_rates(spec, current, stable, history, now)
    else:
        window = timedelta(seconds=DOWN_WINDOW_S)
        highest = history.highest(now - window)
        stable = recommended if highest is None else max(recommended, highest)
        note = _scale_down_stabilized() if stable > recommended else _ready()
        limited = _bounded(spec, current, stable)
    return Decision(limited.replicas, (note, *limited.notes))


def keep_s(spec: Object) -> int:
    """For how long the history matters."""
    waits = [DOWN_WINDOW_S]
    for direction in ("scaleUp", "scaleDown"):
        rules = at(spec, "behavior", direction, default={})
        waits.append(int(rules.get("stabilizationWindowSeconds") or 0))
        waits += [int(policy["periodSeconds"]) for policy in rules.get("policies") or ()]
    return max(waits)


def bounds(spec: Object) -> tuple[int, int]:
    return int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])


def is_fixed(spec: Object) -> bool:
    """Whether there is nothing to decide."""
    least, most = bounds(spec)
    return least == most


def _stabilized(
    behavior: Object, current: int, recommended: int, history: History, now: datetime
) -> tuple[int, Note]:
    up_s = at(behavior, "scaleUp", "stabilizationWindowSeconds", default=0)
    down_s = at(behavior, "scaleDown", "stabilizationWindowSeconds", default=DOWN_WINDOW_S)
    lowest = history.lowest(now - timedelta(seconds=up_s)) if up_s else None
    highest = history.highest(now - timedelta(seconds=down_s)) if down_s else None
    up = recommended if lowest is None else min(recommended, lowest)
    down = recommended if highest is None else max(recommended, highest)
    stable = current
    if stable < up:
        stable = up
    if stable > down:
        stable = down
    if stable < recommended:
        text = "recent recommendations were lower than current one, applying the lowest recent "
        return stable, Note("AbleToScale", True, "ScaleUpStabilized", f"{text}recommendation")
    return stable, _scale_down_stabilized() if stable > recommended else _ready()


def _scale_down_stabilized() -> Note:
    text = "recent recommendations were higher than current one, applying the highest recent "
    return Note("AbleToScale", True, "ScaleDownStabilized", f"{text}recommendation")


def _ready() -> Note:
    text = "recommended size matches current size"
    return Note("AbleToScale", True, "ReadyForNewScale", text)


def _within() -> Note:
    text = "the desired count is within the acceptable range"
    return Note("ScalingLimited", False, "DesiredWithinRange", text)


def _limited(reason: str, message: str) -> Note:
    return Note("ScalingLimited", True, reason, message)


def _bounded(spec: Object, current: int, wanted: int) -> Decision:
    least, most = bounds(spec)
    up_limit = max(_UP_FACTOR * current, _UP_LEAST)
    if wanted < least:
        return Decision(least, (_too_few(),))
    if wanted > min(most, up_limit):
        if up_limit < most:
            text = "the desired replica count is increasing faster than the maximum scale rate"
            return Decision(up_limit, (_limited("ScaleUpLimit", text),))
        return Decision(most, (_too_many(),))
    return Decision(wanted, (_within(),))


def _too_few() -> Note:
    text = "the desired replica count is less than the minimum replica count"
    return _limited("TooFewReplicas", text)


def _too_many() -> Note:
    text = "the desired replica count is more than the maximum replica count"
    return _limited("TooManyReplicas", text)


def _with_rates(
    spec: Object, current: int, wanted: int, history: History, now: datetime
) -> Decision:
    least, most = bounds(spec)
    if wanted > current:
        rules = at(spec, "behavior", "scaleUp", default={})
        limit = max(current, _limit(rules, current, history, now, upwards=True))
        allowed = min(limit, most)
        if wanted > allowed:
            if limit < most:
                text = "the desired replica count is increasing faster than the maximum scale rate"
                return Decision(allowed, (_limited("ScaleUpLimit", text),))
            return Decision(allowed, (_too_many(),))
    elif wanted < current:
        rules = at(spec, "behavior", "scaleDown", default={})
        limit = min(current, _limit(rules, current, history, now, upwards=False))
        allowed = max(limit, least)
        if wanted < allowed:
            if limit > least:
                text = "the desired replica count is decreasing faster than the maximum scale rate"
                return Decision(allowed, (_limited("ScaleDownLimit", text),))
            return Decision(allowed, (_too_few(),))
    if wanted < least:
        return Decision(least, (_too_few(),))
    if wanted > most:
        return Decision(most, (_too_many(),))
    return Decision(wanted, (_within(),))


def _limit(rules: Object, current: int, history: History, now: datetime, *, upwards: bool) -> int:
    """How far the policies let the number go."""
    if rules.get("selectPolicy") == "Disabled":
        return current
    limits = list(_policy_limits(rules.get("policies") or (), current, history, now, upwards))
    if not limits:
        return current
    takes_largest_change = rules.get("selectPolicy", "Max") != "Min"
    return max(limits) if takes_largest_change == upwards else min(limits)


def _policy_limits(
    policies: Iterable[Object], current: int, history: History, now: datetime, upwards: bool
) -> Iterable[int]:
    for policy in policies:
        since = now - timedelta(seconds=policy["periodSeconds"])
        start = current - history.added(since) + history.removed(since)
        value = policy["value"]
        if policy["type"] == "Pods":
            yield start + value if upwards else start - value
        elif upwards:
            yield math.ceil(start * (1 + value / 100))
        else:
            yield int(start * (1 - value / 100))
