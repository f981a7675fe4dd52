"""Isolation ``auto``: what each test was seen to do decides how it is isolated the next time.

``reset`` is the start for every test: it is safe for all of them and, at 0.3 ms, cheaper than BEGIN and ROLLBACK with
their side effects (a frozen ``now()``, an error that ends everything). A test seen to change the catalogue, or to
LISTEN, is given a fresh copy of the template, made in the background while it runs. A test that asks for one
connection in a transaction is left to it as long as nothing it did was seen outside.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from realstack.abc import ResetOutcome
from realstack.isolation.postgres.reset import ResetIsolation

if TYPE_CHECKING:
    from realstack.isolation.postgres.clone import ClonePool

Strategy = Literal["reset", "clone", "transaction"]
Sight = Literal["ddl", "listen", "second connection", "commit", "one transaction"]
#: What a sight means for the next time; the first that applies wins.
_MEANS: Final[tuple[tuple[Sight, Strategy], ...]] = (
    ("ddl", "clone"),
    ("listen", "clone"),
    ("second connection", "reset"),
    ("commit", "reset"),
    ("one transaction", "transaction"),
)


class StrategyMemory:
    """Strategies by test, in a small JSON file; tests isolated by ``reset`` are not listed."""

    def __init__(self, path: Path | None) -> None:
        """Read *path*; a missing or damaged file is an empty memory. ``None`` remembers for this process only."""
        self._path = path
        self._chosen = self._read()
        self._learned: dict[str, Strategy] = {}

    def get(self, test: str) -> Strategy:
        return self._chosen.get(test, "reset")

    def put(self, test: str, strategy: Strategy) -> None:
        """Remember *strategy* for *test*; written by ``save``."""
        if self.get(test) != strategy:
            self._chosen[test] = self._learned[test] = strategy

    def save(self) -> None:
        """Write what was learned, on top of what other processes wrote meanwhile; readers never see half a file."""
        if self._path is None or not self._learned:
            return
        merged = {**self._read(), **self._learned}
        kept = {test: strategy for test, strategy in sorted(merged.items()) if strategy != "reset"}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        scratch.write_text(json.dumps(kept, indent=0), encoding="utf-8")
        scratch.replace(self._path)
        self._learned.clear()

    def _read(self) -> dict[str, Strategy]:
        if self._path is None:
            return {}
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = {strategy for _, strategy in _MEANS}
        return {str(k): v for k, v in found.items() if v in known} if isinstance(found, dict) else {}


class AutoIsolation:
    """Isolates each test by what it was seen to do."""

    def __init__(self, inner: ResetIsolation, *, pool: "ClonePool", memory: StrategyMemory) -> None:
        """Stand on *inner*, which is closed with this."""
        self._inner, self._pool, self._memory = inner, pool, memory
        self._test = ""
        self._seen: set[Sight] = set()
        self._news: list[str] = []

    @property
    def strategy(self) -> Strategy:
        """How the test that has begun is isolated: the fixtures open their connection accordingly."""
        return self._memory.get(self._test)

    def begin(self, test: str) -> None:
        """Note what is there before *test*, and prepare what it will need."""
        self._test, self._seen = test, set()
        if self.strategy == "clone":
            self._pool.warm()
        self._inner.begin(test)

    def saw(self, sight: Sight) -> None:
        """Note what the fixtures see the test do; ``ddl`` is seen here without their help."""
        self._seen.add(sight)

    def reset(self) -> ResetOutcome:
        """Put the database back and learn from what that took."""
        outcome = self._inner.renew() if self.strategy == "clone" else self._inner.reset()
        if self._inner.catalogue_changed:
            self._seen.add("ddl")
        elif self._inner.written and self.strategy == "transaction":
            self._seen.add("commit")
        self._learn()
        return outcome

    def news(self) -> tuple[str, ...]:
        """Return what was decided since the last call: said once."""
        told, self._news = tuple(self._news), []
        return told

    def push(self, name: str) -> None:
        """Make the present state the baseline."""
        self._inner.push(name)

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it."""
        self._inner.pop(name)

    def verify(self) -> tuple[str, ...]:
        """Compare the whole database with the innermost baseline."""
        return self._inner.verify()

    def close(self) -> None:
        """Write the memory and close what it stands on."""
        self._memory.save()
        self._inner.close()

    def _learn(self) -> None:
        for sight, strategy in _MEANS:
            if sight in self._seen:
                if strategy != self.strategy:
                    self._news.append(f"{self._test}: isolated by {strategy} from now on ({sight} seen)")
                self._memory.put(self._test, strategy)
                return
        if self.strategy == "clone":  # what asked for it is gone: the next time costs a reset again
            self._memory.put(self._test, "reset")
