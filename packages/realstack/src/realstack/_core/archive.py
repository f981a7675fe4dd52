"""A folder of many small files as one file, unpacked as fast as the file system lets us.

Made for PostgreSQL data directories: about a thousand files, most of them one or two pages, and megabytes of zeros that
nobody needs to store. Blocks of zeros become holes. Layout: a header of 64 bytes, the index (JSON), the bytes of all
files one after the other.
"""

import hashlib
import json
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from realstack.errors import ArchiveDamaged

_MAGIC = b"realstk\n"
_VERSION = 1
#: magic, version, padding, length of the index, length of the whole archive, SHA-256 of the index
_HEADER = struct.Struct("<8sIIQQ32s")
_BLOCK = 4096
_ZEROS = bytes(_BLOCK)
#: Smaller files are stored as they are: two pages are written faster than looked at.
_WORTH_A_LOOK = 16 * _BLOCK
#: Below this a second thread costs more than it brings.
_WORTH_A_THREAD = 200

#: path, mode, size, runs of stored bytes as (offset in the file, length)
_File = tuple[str, int, int, list[tuple[int, int]]]


class _Index:
    """What is in an archive; the bytes of the files follow in this order."""

    def __init__(
        self, folders: list[tuple[str, int]], links: list[tuple[str, str]], files: list[_File], mode: int
    ) -> None:
        self.folders, self.links, self.files, self.mode = folders, links, files, mode

    def encode(self) -> bytes:
        return json.dumps([self.mode, self.folders, self.links, self.files], separators=(",", ":")).encode()

    @classmethod
    def decode(cls, raw: bytes) -> "_Index":
        mode, folders, links, files = json.loads(raw)
        return cls(folders, links, files, mode)

    @property
    def stored_bytes(self) -> int:
        return sum(length for _, _, _, runs in self.files for _, length in runs)


def pack(folder: Path, archive: Path, *, skip: Collection[str] = ()) -> int:
    """Write everything in *folder* into *archive* and return its size in bytes.

    A reader sees the old archive or the new one, never a part; of several writers the last one wins.

    Args:
        folder: nobody may write to it meanwhile.
        archive: its folder exists.
        skip: paths relative to *folder*, with ``/``, that are left out; a folder with all that is in it.
    """
    index, contents = _read_folder(folder, frozenset(skip))
    encoded = index.encode()
    size = _HEADER.size + len(encoded) + index.stored_bytes
    header = _HEADER.pack(_MAGIC, _VERSION, 0, len(encoded), size, hashlib.sha256(encoded).digest())
    unfinished = archive.with_name(f".{archive.name}.{secrets.token_hex(6)}")
    try:
        with unfinished.open("xb") as out:
            out.write(header)
            out.write(encoded)
            for (_, _, _, runs), content in zip(index.files, contents, strict=True):
                for offset, length in runs:
                    out.write(content[offset : offset + length])
        unfinished.replace(archive)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return size


def unpack(archive: Path, folder: Path) -> None:
    """Make *folder* with what was packed into *archive*: the same files, modes and links.

    Raises:
        ArchiveDamaged: it is not an archive of ours, of another format, shortened or altered; *folder* is not made.
        FileExistsError: *folder* is there already.
    """
    source = os.open(archive, os.O_RDONLY | os.O_CLOEXEC)
    try:
        index, start = _read_index(source, archive)
        folder.mkdir(mode=0o700)
        target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        failure: OSError | None = None
        try:
            with mmap.mmap(source, 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as content:
                try:
                    _fill(index, content, start, target)
                except OSError as error:
                    # the frames of its traceback hold slices of the mapping, which could then not be closed
                    failure = error.with_traceback(None)
            if failure is not None:
                raise failure
            os.fchmod(target, index.mode)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _read_folder(folder: Path, skip: frozenset[str]) -> tuple[_Index, list[memoryview]]:
    """Return the index of *folder* and the content of its files: read once, some tens of megabytes."""
    folders: list[tuple[str, int]] = []
    links: list[tuple[str, str]] = []
    files: list[_File] = []
    contents: list[memoryview] = []
    for entry, path in _walk(folder, "", skip):
        mode = entry.stat(follow_symlinks=False).st_mode & 0o7777
        if entry.is_symlink():
            links.append((path, os.readlink(entry.path)))  # noqa: PTH115  the text of the link, not a path
        elif entry.is_dir():
            folders.append((path, mode))
        elif entry.is_file():
            content = Path(entry.path).read_bytes()
            files.append((path, mode, len(content), list(_stored_runs(content))))
            contents.append(memoryview(content))
    return _Index(folders, links, files, folder.stat().st_mode & 0o7777), contents


def _walk(folder: Path, prefix: str, skip: frozenset[str]) -> Iterator[tuple["os.DirEntry[str]", str]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = prefix + entry.name
        if path in skip:
            continue
        yield entry, path
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{path}/", skip)


def _stored_runs(content: bytes) -> Iterator[tuple[int, int]]:
    """Give the parts of *content* that are not blocks of zeros; of a small file, or one without, that is all of it."""
    if len(content) < _WORTH_A_LOOK or _ZEROS not in content:
        if content:
            yield 0, len(content)
        return
    start = None
    for offset in range(0, len(content), _BLOCK):
        is_empty = content.startswith(_ZEROS[: len(content) - offset], offset)
        if not is_empty and start is None:
            start = offset
        elif is_empty and start is not None:
            yield start, offset - start
            start = None
    if start is not None:
        yield start, len(content) - start


def _read_index(source: int, archive: Path) -> tuple[_Index, int]:
    """Return the index and where the bytes of the first file begin."""
    raw = os.pread(source, _HEADER.size, 0)
    if len(raw) < _HEADER.size:
        raise _damaged(archive, f"it has {len(raw)} bytes, its header alone {_HEADER.size}")
    magic, version, _, index_size, size, checksum = _HEADER.unpack(raw)
    if (magic, version) != (_MAGIC, _VERSION):
        raise _damaged(archive, f"it begins with {raw[:12]!r}, not with format {_VERSION}")
    found = os.fstat(source).st_size
    if found != size:
        raise _damaged(archive, f"it has {found} bytes instead of {size}")
    encoded = os.pread(source, index_size, _HEADER.size)
    if hashlib.sha256(encoded).digest() != checksum:
        raise _damaged(archive, "its index does not match its checksum")
    index = _Index.decode(encoded)
    start = _HEADER.size + index_size
    if start + index.stored_bytes != size:
        raise _damaged(archive, f"its files have {index.stored_bytes} bytes instead of {size - start}")
    return index, start


def _damaged(archive: Path, reason: str) -> ArchiveDamaged:
    return ArchiveDamaged(archive=os.fspath(archive), reason=reason)


def _fill(index: _Index, content: memoryview, start: int, target: int) -> None:
    for path, _ in index.folders:
        os.mkdir(path, 0o700, dir_fd=target)
    for path, text in index.links:
        os.symlink(text, path, dir_fd=target)
    if len(index.files) < _WORTH_A_THREAD:
        _write_files(index.files, content, start, target)
    else:
        _write_files_on_two_threads(index.files, content, start, target)
    for path, mode in reversed(index.folders):
        if mode != 0o700:
            os.chmod(path, mode, dir_fd=target)


def _write_files_on_two_threads(files: list[_File], content: memoryview, start: int, target: int) -> None:
    """Write the first half of the files here and the rest on another thread: system calls let go of the GIL."""
    half = len(files) // 2
    middle = start + sum(length for _, _, _, runs in files[:half] for _, length in runs)
    failures: list[BaseException] = []

    def write_second_half() -> None:
        try:
            _write_files(files[half:], content, middle, target)
        except BaseException as failure:  # noqa: BLE001  whatever it is, it is raised again on the calling thread
            failures.append(failure.with_traceback(None))  # its frames hold slices of the mapping

    other = threading.Thread(target=write_second_half, name="realstack-unpack")
    other.start()
    try:
        _write_files(files[:half], content, start, target)
    finally:
        other.join()
    if failures:
        raise failures[0]


def _write_files(files: list[_File], content: memoryview, start: int, target: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for path, mode, size, runs in files:
        file = os.open(path, flags, 0o600, dir_fd=target)
        try:
            end = 0
            for offset, length in runs:
                _write_run(file, content[start : start + length], offset)
                start += length
                end = offset + length
            if end != size:
                os.ftruncate(file, size)
            if mode != 0o600:
                os.fchmod(file, mode)
        finally:
            os.close(file)


def _write_run(file: int, run: memoryview, offset: int) -> None:
    while run:
        written = os.pwrite(file, run, offset)
        run, offset = run[written:], offset + written
