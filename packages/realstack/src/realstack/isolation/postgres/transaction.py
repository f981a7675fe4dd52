"""Isolation ``transaction``: the test works on one connection inside a transaction that is rolled back.

The connection is the fixture's: it begins before the test and rolls back before ``reset`` is called here. What a
rollback does not undo is undone by a reset: sequences, and whatever the test committed on another connection.
"""

import dataclasses

from realstack.abc import ResetOutcome
from realstack.isolation.postgres.reset import ResetIsolation


class TransactionIsolation:
    """Checks after the rollback that nothing is left, and puts it back when something is."""

    def __init__(self, inner: ResetIsolation) -> None:
        """Stand on *inner*, which knows what was committed; it is closed with this."""
        self._inner = inner

    def begin(self, test: str) -> None:
        """Note what is there before *test*; the fixture's connection begins its transaction after this."""
        self._inner.begin(test)

    def reset(self) -> ResetOutcome:
        """Put back what the rollback did not; the fixture's transaction must have ended."""
        outcome = self._inner.reset()
        if outcome.strategy != "reset":
            return outcome
        if self._inner.written:
            reason = f"the test committed outside its transaction, to {', '.join(self._inner.written[:3])}"
            return dataclasses.replace(outcome, reason=reason)
        return dataclasses.replace(outcome, strategy="transaction")

    def push(self, name: str) -> None:
        """Make the present committed state the baseline."""
        self._inner.push(name)

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it."""
        self._inner.pop(name)

    def verify(self) -> tuple[str, ...]:
        """Compare the whole database with the innermost baseline."""
        return self._inner.verify()

    def close(self) -> None:
        """Close what it stands on."""
        self._inner.close()
