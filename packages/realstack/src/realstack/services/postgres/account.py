"""As whom PostgreSQL runs: it refuses root, so a root owner starts it in a user namespace of its own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal

    from realstack.abc import Process, Scope, Supervisor


def spawn_postgres(
    supervisor: "Supervisor",
    argv: Sequence[str],
    *,
    name: str,
    log: Path,
    env: Mapping[str, str],
    stop_signal: "signal.Signals",
    end_signal: "signal.Signals",
    scope: "Scope" = "run",
) -> "Process":
    """Start a program of PostgreSQL as somebody who is not root."""
    return supervisor.spawn(
        argv,
        name=name,
        log=log,
        env=env,
        scope=scope,
        stop_signal=stop_signal,
        end_signal=end_signal,
        userns=os.geteuid() == 0,
    )
