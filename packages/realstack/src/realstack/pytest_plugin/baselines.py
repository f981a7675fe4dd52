"""Fixtures wider than a test: what they write is the baseline of the tests that share them, and goes with them."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from realstack.pytest_plugin.needs import Needs
    from realstack.runtime.stack import Stack


@dataclasses.dataclass(eq=False, slots=True)
class _Level:
    """One wide fixture that is set up."""

    name: str
    fixturedef: pytest.FixtureDef[Any]
    request: pytest.FixtureRequest
    #: What it was given, itself or through others: it may keep a pool, and may have written.
    services: frozenset[str]


class Baselines:
    """The wide fixtures that are set up, in the order in which they were."""

    def __init__(self, stack: "Callable[[], Stack | None]", *, settle: Callable[[], None], needs: "Needs") -> None:
        """Use *stack* once there is one; *settle* ends the running test before its baseline goes."""
        self._stack, self._settle, self._needs = stack, settle, needs
        self._levels: list[_Level] = []
        self._addresses: list[tuple[pytest.FixtureDef[Any], pytest.FixtureRequest]] = []

    def note_address(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
        """Remember a wide fixture of the kit's, which says where a service is: a fresh server may be elsewhere."""
        self._addresses.append((fixturedef, request))

    def watch(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Callable[[], None]:
        """Return what to call when *fixturedef* is set up; its end is seen by itself.

        Called before it runs: finalizers run last in, first out, so that ours runs after its teardown.
        """
        level = _Level(f"{fixturedef.scope} fixture {fixturedef.argname}", fixturedef, request, frozenset())
        fixturedef.addfinalizer(lambda: self._leave(level))
        return lambda: self._enter(level)

    def renew(self) -> None:
        """End every wide fixture that was given a service, to be set up again: a server died with what they wrote."""
        levels, self._levels = self._levels, [level for level in self._levels if not level.services]
        for level in reversed(levels):
            if level.services:
                self._release(level)
                level.fixturedef.finish(level.request)  # type: ignore[arg-type]  # a wide fixture's is a SubRequest
        while self._addresses:
            fixturedef, request = self._addresses.pop()
            fixturedef.finish(request)  # type: ignore[arg-type]  # as above

    def _enter(self, level: _Level) -> None:
        level.services = self._services_of(level.fixturedef)
        stack = self._stack()
        if stack is None:
            return
        self._levels.append(level)
        stack.run.pools.update(level.services)
        stack.push(level.name)
        stack.begin_again()

    def _leave(self, level: _Level) -> None:
        stack = self._stack()
        if level not in self._levels or stack is None:
            return
        # a session fixture that was first asked for under this module's state stands on it: it is made again, without,
        # when it is next asked for
        for above in reversed(self._levels[self._levels.index(level) + 1 :]):
            if above.services:
                above.fixturedef.finish(above.request)  # type: ignore[arg-type]  # as above
        self._levels.remove(level)
        self._release(level)
        try:
            self._settle()
        finally:
            stack.pop(level.name)
            stack.begin_again()

    def _release(self, level: _Level) -> None:
        stack = self._stack()
        if stack is not None:
            stack.run.pools.subtract(level.services)

    def _services_of(self, fixturedef: pytest.FixtureDef[Any]) -> frozenset[str]:
        through = [level.services for level in self._levels if level.fixturedef.argname in fixturedef.argnames]
        return self._needs.services(fixturedef.argnames).union(*through)
