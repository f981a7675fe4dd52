"""Where things lie: sockets in a short private path, data in memory when there is room, what is kept in the cache.

Run folders go to ``/tmp/realstack-<uid>``: a Unix socket's path may not be longer than 107 bytes (103 on macOS), and
``/tmp`` is the one short folder every Unix has. ``XDG_RUNTIME_DIR`` is missing in containers and in CI, vanishes when
the user logs out while a detached stack still runs, and is often too small for logs; it and ``TMPDIR`` are the
fallbacks when somebody else took our name in ``/tmp``.
"""

import dataclasses
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from realstack.errors import FolderUnsafe, SocketPathTooLong

#: The shorter of the limits of Linux (107) and macOS (103).
MAX_SOCKET_PATH = 103
#: Kept free in a run folder's path for what is below it: a folder with the name of an instance, and ``.s.PGSQL.65535``.
_ROOM_BELOW = 56
_RUN_NAME = 8
#: What is left to everybody else in memory.
RESERVE_BYTES = 64 * 1024 * 1024

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  each of its folders is checked to be ours and private
SHORT_TEMPORARY = Path("/tmp")  # noqa: S108  the same


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DataFolder:
    """A folder to be made for the data of a server."""

    path: Path
    in_memory: bool
    #: Why it is not in memory; empty when it is.
    reason: str = ""


def cache_folder(env: Mapping[str, str]) -> Path:
    """Return the user's cache folder of the kit, made if need be; ``XDG_CACHE_HOME`` decides, then ``HOME``.

    Raises:
        FolderUnsafe: neither it nor a folder of our own in ``/tmp`` can be made.
    """
    named = env.get("XDG_CACHE_HOME", "")
    home = Path(named) if Path(named).is_absolute() else Path(env.get("HOME") or "~").expanduser() / ".cache"
    try:
        folder = home / "realstack"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        refused = (os.fspath(home), error.strerror or str(error))
    else:
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
        refused = (os.fspath(folder), "cannot be written")
    folder = _first_private([SHORT_TEMPORARY], refused=[refused]) / "cache"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def open_run_folder(env: Mapping[str, str]) -> Path:
    """Return the path of a new run folder; the supervisor makes it, so that there is never one that nobody deletes.

    Raises:
        FolderUnsafe: no base folder is private to us and short enough.
    """
    longest_base = MAX_SOCKET_PATH - _ROOM_BELOW - _RUN_NAME - 2 - len(_own_name())
    return _first_private(_short_folders(env), longest=longest_base) / _new_name()


def data_folder(env: Mapping[str, str], *, need_bytes: int, memory: Path = SHARED_MEMORY) -> DataFolder:
    """Return where to put the data of a server; not made yet, so that it can be owned first.

    Args:
        env: where ``TMPDIR`` is looked up.
        need_bytes: how much it will hold.
        memory: a file system in memory.
    """
    reason = _why_not_in_memory(memory, need_bytes)
    if not reason:
        try:
            return DataFolder(path=_private_folder(memory / _own_name()) / _new_name(), in_memory=True)
        except OSError as error:
            reason = f"{memory}: {error.strerror or error}"
    disk = [Path(env["TMPDIR"])] if Path(env.get("TMPDIR", "")).is_absolute() else []
    return DataFolder(path=_first_private([*disk, SHORT_TEMPORARY]) / _new_name(), in_memory=False, reason=reason)


def check_socket_path(path: Path) -> Path:
    """Return *path* if a Unix socket can be bound there.

    Raises:
        SocketPathTooLong: the operating system would cut it off or refuse it.
    """
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise SocketPathTooLong(path=os.fspath(path), length=length, limit=MAX_SOCKET_PATH)
    return path


def _own_name() -> str:
    return f"realstack-{os.geteuid()}"


def _new_name() -> str:
    return secrets.token_hex(_RUN_NAME // 2)


def _short_folders(env: Mapping[str, str]) -> Iterator[Path]:
    yield SHORT_TEMPORARY
    for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
        if Path(env.get(name, "")).is_absolute():
            yield Path(env[name])


def _first_private(
    parents: Iterator[Path] | list[Path], *, longest: int | None = None, refused: list[tuple[str, str]] | None = None
) -> Path:
    tried = list(refused or ())
    for parent in parents:
        folder = parent / _own_name()
        if longest is not None and len(os.fsencode(parent)) > longest:
            tried.append((os.fspath(parent), f"longer than {longest} bytes, too long for a socket below it"))
            continue
        try:
            return _private_folder(folder)
        except OSError as error:
            tried.append((os.fspath(folder), error.strerror or str(error)))
    raise FolderUnsafe(tried=tuple(tried))


def _private_folder(folder: Path) -> Path:
    """Make *folder* or check that it is ours alone: /tmp belongs to everybody, and names there can be taken.

    Raises:
        OSError: it cannot be made, or it is not private.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OSError("is a symbolic link or a file, not a folder")
    if found.st_uid != os.geteuid():
        raise OSError(f"belongs to user {found.st_uid}")
    if found.st_mode & 0o077:
        raise OSError(f"can be used by others (mode {stat.S_IMODE(found.st_mode):04o})")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError("cannot be written")
    return folder


def _why_not_in_memory(memory: Path, need_bytes: int) -> str:
    """Say why *need_bytes* do not go into *memory*; empty when they do."""
    if not memory.is_dir():
        return f"{memory} does not exist"
    if not _is_tmpfs(memory):
        return f"{memory} is not a file system in memory"
    there = os.statvfs(memory)
    available = min(there.f_bavail * there.f_frsize, _available_memory())
    if available < need_bytes + RESERVE_BYTES:
        left, wanted, reserve = (each / 2**20 for each in (available, need_bytes, RESERVE_BYTES))
        return f"{memory} has {left:.0f} MiB left, {wanted:.0f} MiB and a reserve of {reserve:.0f} MiB are needed"
    return ""


def _is_tmpfs(folder: Path) -> bool:
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    kinds = [fields[2] for line in mounts if len(fields := line.split(" ")) > 2 and fields[1] == os.fspath(folder)]
    return bool(kinds) and kinds[-1] in ("tmpfs", "ramfs")


def _available_memory() -> int:
    """Return the bytes the kernel could still hand out; a file system in memory may promise more than there are."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), "0")
    return int(kib) * 1024
