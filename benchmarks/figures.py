"""Figures and the tables they stand in."""

import dataclasses
import statistics
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """What was measured of one case, in the unit of its table."""

    case: str
    #: Ours, whose target is looked at and whom the others are compared with.
    ours: bool
    values: tuple[float, ...]
    target: float | None = None
    target_p95: float | None = None
    #: Median of setup, test and teardown together, where the values are setup and teardown alone.
    whole: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        return quantile(self.values, 0.95)

    @property
    def reached(self) -> bool | None:
        """Whether the targets are reached; ``None`` without one."""
        if self.target is None:
            return None
        return self.median <= self.target and (self.target_p95 is None or self.p95 <= self.target_p95)

    def to_plain(self) -> dict[str, object]:
        return {
            "case": self.case,
            "ours": self.ours,
            "n": len(self.values),
            "median": self.median,
            "q1": quantile(self.values, 0.25),
            "q3": quantile(self.values, 0.75),
            "p95": self.p95,
            "target": self.target,
            "target_p95": self.target_p95,
            "reached": self.reached,
            "whole": self.whole,
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Cases that were measured beside each other; ratios are against the first of ours."""

    number: str
    title: str
    unit: str
    figures: tuple[Figure, ...]
    explanation: str = ""


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which *share* of *values* lie, interpolated."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def figure(
    case: str,
    values: Sequence[float],
    *,
    ours: bool = False,
    target: float | None = None,
    target_p95: float | None = None,
    whole: Sequence[float] = (),
) -> Figure:
    """Return a figure; *values* must not be empty; *whole* is what its median is shown of, beside them."""
    if not values:
        raise ValueError(f"values={values!r} of {case!r} must not be empty")
    return Figure(
        case=case,
        ours=ours,
        values=tuple(values),
        target=target,
        target_p95=target_p95,
        whole=statistics.median(whole) if whole else None,
    )
