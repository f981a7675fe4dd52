"""A number of one's own among the test processes that share a server: 0 for the first, and so on.

A slot is a lock on a file in the run folder, so that the kernel gives it back when its process dies, however it dies.
What the file holds tells the next one whether the last one cleaned up.
"""

import fcntl
import os
from pathlib import Path

_MOST_SLOTS = 1024
_IN_USE = b"in use\n"


class Slot:
    """A number nobody else has while this object, or at the latest this process, lives.

    Attributes:
        number: from 0.
        was_abandoned: who had it before died without cleaning up; what it left cannot be trusted.
    """

    def __init__(self, *, number: int, descriptor: int, path: Path) -> None:
        self.number, self.path = number, path
        self._descriptor = descriptor
        self.was_abandoned = os.pread(descriptor, len(_IN_USE), 0) == _IN_USE
        os.pwrite(descriptor, _IN_USE, 0)

    def close(self, *, clean: bool = True) -> None:
        """Give the number back; *clean*: what belongs to it is at its baseline."""
        if self._descriptor < 0:
            return
        if clean:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1


def others_hold(folder: Path, pattern: str, own: Path) -> bool:
    """Tell whether a slot whose file matches *pattern* in *folder*, other than *own*, is somebody's."""
    for path in folder.glob(pattern):
        if path == own:
            continue
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def take_slot(folder: Path, name: str) -> Slot:
    """Return the lowest free slot of *name* in *folder*.

    Raises:
        RuntimeError: 1024 processes hold one each, which no machine of this kind does.
    """
    for number in range(_MOST_SLOTS):
        descriptor = os.open(folder / f"{name}-{number}.slot", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return Slot(number=number, descriptor=descriptor, path=folder / f"{name}-{number}.slot")
    raise RuntimeError(f"all {_MOST_SLOTS} slots of {name!r} in {folder} are taken")
