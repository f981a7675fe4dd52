"""The process that holds a stack left running by ``realstack up --detach``.

Some servers live as long as the process that uses them: a Redis, an app. The keeper is that process: it takes part in
the run like a test process does, under the run's supervisor, so that it ends with the run and a test run that is
pointed at the stack gets a database of its own instead of the one a person works with.
"""

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import RealstackError, StackGone

if TYPE_CHECKING:
    from realstack.runner.services import StartedServices, WantedService
    from realstack.runtime.stack import Stack

RECORD = "keeper.kept"
LOG = "keeper.log"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeptService:
    """A service that a keeper holds."""

    #: ``postgres``, ``postgres.analytics``.
    name: str
    service: str
    instance: str
    version: str
    provider: str
    #: With its password: the record is for its owner's eyes.
    url: str
    #: Masked.
    safe_url: str
    started_in_s: float
    log: str | None
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What came of starting the services of a stack."""

    services: tuple[KeptService, ...]
    #: Service, whether it had to be there, reason.
    missing: tuple[tuple[str, bool, str], ...]
    #: The kind of the first error of a service that had to be there: ``ServiceUnavailable``.
    failure: str = ""


def kept_of(came: "StartedServices") -> Kept:
    """Return *came* as plain values."""
    services = tuple(
        KeptService(
            name=wanted.label,
            service=wanted.service,
            instance=wanted.instance,
            version=row.version,
            provider=row.provider,
            url=service.endpoint.url,
            safe_url=row.url,
            started_in_s=row.started_in_s,
            log=row.log,
            note=row.note,
        )
        for (wanted, service), (_wanted, row) in zip(came.started, came.rows, strict=True)
    )
    missing = tuple((wanted.label, wanted.required, str(error)) for wanted, error in came.missing)
    failure = type(came.first_failure).__name__ if came.first_failure else ""
    return Kept(services=services, missing=missing, failure=failure)


def start_keeper(
    stack: "Stack", wanted: "list[WantedService]", *, command_line: Mapping[str, object], timeout_s: float
) -> Kept:
    """Have a keeper start *wanted* in the run of *stack* and return what came of it.

    Args:
        stack: just opened; the keeper ends with its run.
        wanted: what to start.
        command_line: settings given by option, which the keeper must know too.
        timeout_s: seconds to wait until all have been started or refused.

    Raises:
        StackGone: the keeper ended without a word; its log says why.
    """
    folder = stack.run_folder
    order = {
        "root": str(stack.run.config.root),
        "run_folder": str(folder),
        "command_line": dict(command_line),
        "wanted": [dataclasses.asdict(each) for each in wanted],
    }
    process = stack.run.supervision.spawn(
        [sys.executable, "-m", "realstack.runner.keeper", json.dumps(order)],
        name="keeper",
        log=folder / LOG,
        env=stack.run.environ,
        cwd=stack.run.config.root,
    )

    def read() -> Kept:
        if (kept := read_kept(folder)) is not None:
            return kept
        if not process.is_alive():
            raise StackGone(stack=_last_words(folder))
        raise NotReady("it is still starting services")

    try:
        return wait_until(read, timeout_s=timeout_s)
    except Late as late:
        raise StackGone(stack=_last_words(folder)) from late


def read_kept(run_folder: Path) -> Kept | None:
    """Return what the keeper of the run in *run_folder* holds; ``None``: no keeper has said so (yet)."""
    try:
        values: dict[str, Any] = json.loads((run_folder / RECORD).read_text())
    except FileNotFoundError:
        return None
    services = tuple(KeptService(**each) for each in values["services"])
    missing = tuple((str(name), bool(required), str(reason)) for name, required, reason in values["missing"])
    return Kept(services=services, missing=missing, failure=values["failure"])


def _last_words(run_folder: Path) -> str:
    from realstack._core.logtail import tail

    return tail(run_folder / LOG, lines=12)


def _keep(order: Mapping[str, Any]) -> None:
    """Start what *order* says, write down where it is, and stay until told to end."""
    from realstack.config import read_environment, resolve
    from realstack.runner.services import WantedService, start_services
    from realstack.runtime.stack import Stack

    over = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda _number, _frame: over.set())
    config = resolve(Path(order["root"]), environ=read_environment(), command_line=order["command_line"])
    run_folder = Path(order["run_folder"])
    stack = Stack.join(config, run_folder)
    try:
        came = start_services(stack, [WantedService(**each) for each in order["wanted"]])
        draft = run_folder / f"{RECORD}.draft"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(dataclasses.asdict(kept_of(came)), file)
        draft.rename(run_folder / RECORD)
        over.wait()
    finally:
        stack.close()


if __name__ == "__main__":
    try:
        _keep(json.loads(sys.argv[1]))
    except RealstackError as error:
        sys.exit(str(error))
