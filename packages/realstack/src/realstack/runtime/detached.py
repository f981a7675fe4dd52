"""Stacks that `realstack up --detach` left running: a record each in the user's cache folder, and nothing else.

The record only says where a run is. Whether it still runs, the run itself is asked; a record whose run is gone is
deleted when it is met.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realstack._core.supervision import Supervision, join_supervisor
from realstack.config import Config
from realstack.errors import ConfigInvalid, StackGone, SupervisorLost
from realstack.runtime.stack import Stack

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DetachedStack:
    """A stack that runs without an owner."""

    name: str
    run_folder: Path
    root: str
    #: ``ServiceRow`` as a mapping, one per service it was started with.
    services: tuple[Mapping[str, Any], ...]


def open_or_join(config: Config, *, run_folder: Path | None = None, supervision: Supervision | None = None) -> Stack:
    """Return the stack for a run of tests: the run it is told of, the one the configuration points at, or a new one.

    Raises:
        StackGone: the configured stack does not run.
    """
    if run_folder is None and config.stack is not None:
        run_folder = run_folder_of(config.stack, cache_folder=config.cache_folder)
    return Stack.open(config, supervision=supervision) if run_folder is None else Stack.join(config, run_folder)


def leave_running(stack: Stack, name: str) -> DetachedStack:
    """Give up the lease of *stack*, so that it goes on after this process, and record it under *name*.

    Raises:
        ConfigInvalid: *name* is no name, or a running stack has it.
    """
    folder = _records(stack.run.config.cache_folder)
    _check_name(name)
    if find_detached(name, cache_folder=stack.run.config.cache_folder) is not None:
        raise ConfigInvalid(key="--name", value=name, source="command line", wanted="a name no running stack has")
    rows = tuple(dataclasses.asdict(row) for row in stack.describe())
    left = DetachedStack(name=name, run_folder=stack.run_folder, root=str(stack.run.config.root), services=rows)
    record = {**dataclasses.asdict(left), "run_folder": str(left.run_folder)}
    (folder / f"{name}.json").write_text(json.dumps(record))
    stack.run.supervision.detach()
    return left


def list_detached(*, cache_folder: Path) -> list[DetachedStack]:
    """Return the stacks that are running, by name."""
    found = (_read(record) for record in sorted(_records(cache_folder).glob("*.json")))
    return [stack for stack in found if stack is not None]


def find_detached(name: str, *, cache_folder: Path) -> DetachedStack | None:
    """Return the running stack *name*, or ``None``."""
    _check_name(name)
    return _read(_records(cache_folder) / f"{name}.json")


def run_folder_of(stack: str, *, cache_folder: Path) -> Path:
    """Return the run folder of a stack given by name, or by the absolute path of its run folder.

    Raises:
        StackGone: it does not run.
    """
    if stack.startswith("/"):
        folder = Path(stack)
        if not _runs(folder):
            raise StackGone(stack=stack)
        return folder
    found = find_detached(stack, cache_folder=cache_folder)
    if found is None:
        raise StackGone(stack=stack)
    return found.run_folder


def stop_detached(name: str, *, cache_folder: Path) -> None:
    """End the stack *name*, its servers and folders.

    Raises:
        StackGone: it does not run.
    """
    found = find_detached(name, cache_folder=cache_folder)
    if found is None:
        raise StackGone(stack=name)
    join_supervisor(found.run_folder).end()
    (_records(cache_folder) / f"{name}.json").unlink(missing_ok=True)


def _records(cache_folder: Path) -> Path:
    folder = cache_folder / "stacks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _read(record: Path) -> DetachedStack | None:
    try:
        values = json.loads(record.read_text())
    except FileNotFoundError:
        return None
    run_folder = Path(values["run_folder"])
    if not _runs(run_folder):
        record.unlink(missing_ok=True)
        return None
    services = tuple(values["services"])
    return DetachedStack(name=values["name"], run_folder=run_folder, root=values["root"], services=services)


def _runs(run_folder: Path) -> bool:
    supervision = join_supervisor(run_folder)
    try:
        supervision.processes()
    except SupervisorLost:
        return False
    finally:
        supervision.close()
    return True


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        wanted = "1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit"
        raise ConfigInvalid(key="--name", value=name, source="command line", wanted=wanted)
