"""Baselines stack: a wider fixture adds state that its tests share, and takes it away afterwards."""

import dataclasses
from typing import TYPE_CHECKING

from realstack.errors import BaselineUnknown

if TYPE_CHECKING:
    from realstack.isolation.postgres._replay import LevelRows
    from realstack.isolation.postgres.clone import ClonePool


@dataclasses.dataclass(frozen=True, slots=True)
class Baseline:
    """One baseline above the template's."""

    name: str
    level: int
    #: Copies of the database as it was then; only made when the catalogue was changed on the way to it.
    pool: "ClonePool | None" = None
    #: The catalogue was changed and could not be copied: why.
    incomplete: str = ""
    #: The catalogue was changed on the way to it, so that going back takes a fresh copy of the one below ...
    changes_catalogue: bool = False
    #: ... and the rows of those that lie between that copy and it.
    below: "tuple[LevelRows, ...]" = ()


class BaselineStack:
    """The baselines above the template's, and the copies that the innermost can be rebuilt from."""

    def __init__(self, pool: "ClonePool") -> None:
        self.bottom = pool
        self._above: list[Baseline] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(baseline.name for baseline in self._above)

    @property
    def next_level(self) -> int:
        return len(self._above) + 1

    @property
    def pool(self) -> "ClonePool":
        """Copies of the highest baseline that has some."""
        return next((baseline.pool for baseline in reversed(self._above) if baseline.pool), self.bottom)

    @property
    def replayed(self) -> tuple[Baseline, ...]:
        """The baselines above ``pool``, from the bottom: they exist as rows only."""
        after = max((baseline.level for baseline in self._above if baseline.pool), default=0)
        return tuple(self._above[after:])

    def push(self, baseline: Baseline) -> None:
        self._above.append(baseline)

    def pop(self, name: str) -> tuple[Baseline, ...]:
        """Take off the baseline *name*, and what lies above it; return them from the top.

        Raises:
            BaselineUnknown: there is none of that name.
        """
        if name not in self.names:
            raise BaselineUnknown(baseline=name, known=self.names)
        at = len(self._above) - 1 - self.names[::-1].index(name)
        taken = tuple(reversed(self._above[at:]))
        del self._above[at:]
        return taken

    def close(self) -> None:
        for baseline in self._above:
            if baseline.pool:
                baseline.pool.close()
