"""Folders that are somebody's to delete: recorded before they exist, deleted without ever leaving them.

Used by the supervisor, by the owner of a run whose supervisor was killed, and by a later run that finds what a machine
crash left behind. Small imports only: the supervisor loads it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

TYPE_CHECKING = False  # importing typing takes 9 ms
if TYPE_CHECKING:
    from collections.abc import Iterable

SOCKET = "supervisor.sock"
LOG = "supervisor.log"
JOURNAL = "owned"
#: Locked as long as the supervisor lives; the name also tells a run folder from anybody else's.
ALIVE = "realstack.alive"

#: A run folder younger than this may belong to a supervisor that has not taken its lock yet.
SETTLED_S = 60.0


class Refused(Exception):
    """A folder that must not be owned; the text says why."""


class Claim:
    """A folder that did not exist when it was promised to be deleted, and the very parent it was promised in."""

    __slots__ = ("device", "folder", "inode")

    def __init__(self, folder: str, device: int, inode: int) -> None:
        self.folder, self.device, self.inode = folder, device, inode

    def line(self) -> bytes:
        """Return the claim as one line of a journal."""
        return os.fsencode(f"{self.device} {self.inode} {self.folder}\n")

    @classmethod
    def parse(cls, line: bytes) -> Claim:
        """Return the claim that *line* of a journal stands for."""
        device, inode, folder = os.fsdecode(line).split(" ", 2)
        return cls(folder, int(device), int(inode))


def claim_folder(folder: str, *, keep: Iterable[str]) -> Claim:
    """Return the claim on *folder*, which is to be made next.

    Args:
        folder: absolute, without ``..`` or a trailing slash; its parent exists, it does not.
        keep: folders that may lie neither in *folder* nor be it: the home folder, the run folder.

    Raises:
        Refused: it may not be owned.
    """
    if folder[:1] != "/" or folder[:2] == "//" or os.path.normpath(folder) != folder or "\n" in folder:
        raise Refused("it is not a plain absolute path")
    for kept in ("/", *keep):
        if kept == folder or kept.startswith(folder.rstrip("/") + "/"):
            raise Refused(f"it is or contains {kept}")
    if os.path.lexists(folder):
        raise Refused("it exists already, and only what the run itself makes is deleted")
    try:
        parent = os.stat(os.path.dirname(folder))
    except OSError as error:
        raise Refused(f"its parent folder cannot be used: {error.strerror}") from error
    return Claim(folder, parent.st_dev, parent.st_ino)


def delete_claimed(claim: Claim, *, users: Iterable[int] = ()) -> str:
    """Delete the folder of *claim*; return what went wrong, empty when it is gone.

    Symbolic links are removed, never followed; another file system mounted inside is left alone, and so is a folder of
    a user that is neither us nor one of *users*.
    """
    parent_path, name = os.path.split(claim.folder)
    try:
        parent = os.open(parent_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{parent_path}: {error.strerror}"
    try:
        now = os.fstat(parent)
        if (now.st_dev, now.st_ino) != (claim.device, claim.inode):
            return f"{claim.folder}: its parent is not the folder it was; left alone"
        return _delete_below(parent, name, claim.folder, {os.geteuid(), *users})
    finally:
        os.close(parent)


def _delete_below(parent: int, name: str, shown: str, users: set[int]) -> str:
    problem = ""
    for _ in range(5):  # a process on its way out may add a file between our listing and our rmdir
        try:
            entry = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if entry.st_uid not in users:
                return f"{shown}: belongs to user {entry.st_uid}; left alone"
            _remove_tree(parent, name, entry.st_dev)
        except FileNotFoundError:
            return ""
        except (OSError, RecursionError) as error:
            problem = f"{shown}: {error}"
        else:
            return ""
    return problem


def _remove_tree(parent: int, name: str, device: int) -> None:
    entry = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(entry.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    if entry.st_dev != device:
        raise OSError(f"{name} is another file system; left alone")
    if entry.st_mode & 0o700 != 0o700:
        os.chmod(name, 0o700, dir_fd=parent)
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        with os.scandir(folder) as entries:
            inside = [(each.name, each.is_dir(follow_symlinks=False)) for each in entries]
        for each, is_folder in inside:
            if is_folder:
                _remove_tree(folder, each, device)
            else:
                _unlink(folder, each)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=parent)


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass  # a server on its way out removes its own socket


def make_run_folder(run: str) -> int:
    """Make *run* and give back the descriptor of its lock, which tells every other run that this one is alive."""
    os.makedirs(run, mode=0o700, exist_ok=True)
    alive = os.open(f"{run}/{ALIVE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive


def note_claim(run: str, claim: Claim) -> None:
    """Write *claim* into the journal of *run*, for whoever has to clean up when the supervisor was killed."""
    journal = os.open(f"{run}/{JOURNAL}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(journal, claim.line())
    finally:
        os.close(journal)


def delete_run_folder(run: str, *, users: Iterable[int] = ()) -> str:
    """Delete the run folder *run*; return what went wrong."""
    try:
        parent = os.stat(os.path.dirname(run))
    except FileNotFoundError:
        return ""
    return delete_claimed(Claim(run, parent.st_dev, parent.st_ino), users=users)


def delete_dead_run(run: str) -> list[str]:
    """Delete *run* and every folder in its journal if no supervisor holds its lock; return what went wrong."""
    try:
        if not stat.S_ISDIR(os.lstat(run).st_mode):
            return []
        alive = os.open(f"{run}/{ALIVE}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        problems = [delete_claimed(claim) for claim in _journal(run)]
        problems.append(delete_run_folder(run))
    except BlockingIOError:
        return []
    finally:
        os.close(alive)
    return [problem for problem in problems if problem]


def delete_dead_runs(base: str) -> list[str]:
    """Delete the runs in *base* whose supervisor and owner both died with the machine; return what went wrong.

    A run is dead when the kernel says that nobody holds its lock; names and ages decide nothing.
    """
    problems = []
    for name in os.listdir(base) if os.path.isdir(base) else ():
        run = f"{base}/{name}"
        try:
            if time.time() - os.lstat(run).st_mtime > SETTLED_S:
                problems += delete_dead_run(run)
        except FileNotFoundError:  # its own supervisor, or that of another new run, was quicker
            continue
    return problems


def _journal(run: str) -> list[Claim]:
    try:
        with open(f"{run}/{JOURNAL}", "rb") as journal:
            lines = journal.read().splitlines()
    except FileNotFoundError:
        return []
    return [Claim.parse(line) for line in lines if line.count(b" ") >= 2]
