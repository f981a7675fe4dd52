"""The run that the containers of this process share: opened by the first, ended with the process at the latest."""

import atexit
import itertools
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realstack.runtime.run import Run
    from realstack.runtime.stack import Stack

_lock = threading.Lock()
_stacks: dict[int, "Stack"] = {}
_numbers = itertools.count(1)


def own_run() -> "Run":
    """Return the run of this process; a forked child has another than its parent."""
    with _lock:
        here = os.getpid()
        if here not in _stacks:
            from pathlib import Path

            from realstack.config import find_root, read_environment, resolve
            from realstack.runtime.stack import Stack

            config = resolve(find_root(Path.cwd()), environ=read_environment(), command_line={})
            _stacks[here] = Stack.open(config)
            atexit.register(_close, here)
        return _stacks[here].run


def next_name(service: str) -> str:
    """Return a name no other container of this process has."""
    return f"container-{service}-{os.getpid()}-{next(_numbers)}"


def _close(owner: int) -> None:
    if owner == os.getpid() and (stack := _stacks.pop(owner, None)) is not None:
        stack.close()
