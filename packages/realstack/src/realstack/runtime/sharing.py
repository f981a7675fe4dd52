"""One server for all processes of a run: the first that needs it starts it, the others read where it is.

The lock and the record are files in the run folder: they go when the run goes, and need nobody to coordinate.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realstack._core.filelock import locked
from realstack.services.endpoint import Endpoint


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SharedServer:
    """A server of this run as any of its processes knows it; satisfies ``realstack.abc.Server``."""

    endpoint: Endpoint
    version: str
    provider: str
    log: Path | None
    started_in_s: float
    #: Its process; ``None`` when the server is not ours.
    pid: int | None
    #: What the one who started it wants the others to know: plain values.
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def is_alive(self) -> bool:
        """True while its process exists; a server that is not ours is taken to live."""
        if self.pid is None:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it exists and runs as somebody else
            return True
        return True

    def stop(self) -> None:
        """Nothing: it belongs to the run, which ends it."""

    def to_json(self) -> str:
        """Return it as text; the file that holds it is only for its owner's eyes."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values |= {"endpoint": self.endpoint.to_json(), "log": str(self.log) if self.log else None}
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> "SharedServer":
        """Read what ``to_json`` wrote."""
        values = json.loads(text)
        values["endpoint"] = Endpoint.from_json(values["endpoint"])
        values["log"] = Path(values["log"]) if values["log"] else None
        return cls(**values)


def share_server(run_folder: Path, name: str, start: Callable[[], SharedServer], *, timeout_s: float) -> SharedServer:
    """Return the run's server *name*: the one on record if it lives, else the one *start* gives.

    Args:
        run_folder: where the record lies.
        name: unique within the run.
        start: called by one process at a time.
        timeout_s: seconds to wait for another process that is starting it.
    """
    record = run_folder / f"{name}.json"
    with locked(run_folder / f"{name}.lock", timeout_s=timeout_s):
        if (known := _read(record)) is not None and known.is_alive():
            return known
        server = start()
        _write(record, server.to_json())
        return server


def last_known(run_folder: Path, name: str) -> SharedServer | None:
    """Return the server *name* as it was last on record, alive or not: a new one takes its place and its address."""
    return _read(run_folder / f"{name}.json")


def _read(record: Path) -> SharedServer | None:
    try:
        return SharedServer.from_json(record.read_text())
    except FileNotFoundError:
        return None


def _write(record: Path, text: str) -> None:
    draft = record.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(record)
