"""As whom PostgreSQL runs. It refuses root: root starts it in a user namespace, or as nobody where those are forbidden.

In the namespace it is user 1000 and everything it touches stays root's, so nothing has to be handed over. Docker's
default profile forbids namespaces; there ``as_user.py`` turns it into a real user (20 ms more).
"""

import dataclasses
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from realstack.errors import SpawnFailed

if TYPE_CHECKING:
    from realstack.abc import Process, Scope, Supervisor

_LAUNCHER = os.fspath(Path(__file__).with_name("as_user.py"))
_NOBODY = 65534


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """A program of PostgreSQL that is to be started."""

    argv: Sequence[str]
    name: str
    log: Path
    env: Mapping[str, str]
    #: PostgreSQL insists that the folder itself belongs to the user it runs as.
    data: Path
    stop_signal: signal.Signals = signal.SIGTERM
    #: Its data is thrown away when the run ends.
    end_signal: signal.Signals = signal.SIGQUIT
    scope: "Scope" = "run"


def spawn_postgres(supervisor: "Supervisor", launch: Launch, *, run_as: tuple[int, int] | None = None) -> "Process":
    """Start a program of PostgreSQL as somebody who is not root.

    Args:
        supervisor: becomes its parent.
        launch: what to start.
        run_as: user and group for a root owner, instead of a user namespace.

    Raises:
        SpawnFailed: it could not be started.
    """
    if os.geteuid() != 0:
        return _spawn(supervisor, launch, launch.argv)
    if run_as is None:
        try:
            return _spawn(supervisor, launch, launch.argv, userns=True)
        except SpawnFailed as error:
            if error.step != "userns":
                raise
    return _spawn_as_user(supervisor, launch, run_as or _nobody())


def _spawn_as_user(supervisor: "Supervisor", launch: Launch, run_as: tuple[int, int]) -> "Process":
    # a supervisor deletes the folders of a user only after it has started something as that user
    supervisor.spawn(["/bin/sh", "-c", ":"], name="sh", log=launch.log, env={}, run_as=run_as)
    os.chown(launch.data, *run_as)  # what is inside may stay root's: the capability that is kept reaches it
    user, group = (str(each) for each in run_as)
    launcher = [sys.executable, "-I", "-S", "-B", _LAUNCHER, user, group, str(int(launch.end_signal))]
    return _spawn(supervisor, launch, [*launcher, *launch.argv])


def _spawn(supervisor: "Supervisor", launch: Launch, argv: Sequence[str], *, userns: bool = False) -> "Process":
    return supervisor.spawn(
        argv,
        name=launch.name,
        log=launch.log,
        env=launch.env,
        scope=launch.scope,
        stop_signal=launch.stop_signal,
        end_signal=launch.end_signal,
        userns=userns,
    )


def _nobody() -> tuple[int, int]:
    import pwd

    try:
        found = pwd.getpwnam("nobody")
    except KeyError:  # an image without a user list: the number is free all the same
        return _NOBODY, _NOBODY
    return found.pw_uid, found.pw_gid
