"""Clusters with the templates and first databases already in them, kept in the cache in parts.

What the server needs to boot and the first test to connect is one part; each database nobody needs in the first
milliseconds (the templates) is another, unpacked while the server boots. A cluster with one schema holds five databases
of 300 files each, so this halves the time to the first connection.
"""

import os
import secrets
import shutil
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from realstack._core.archive import pack, unpack
from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ServerStartFailed
from realstack.services.postgres.cluster import pack_cluster, unpack_cluster

_MAIN = "main"
#: In the data folder: the parts that belong to it, one a line.
_PARTS = "realstack.parts"
#: In the data folder: there when all parts are; holds what went wrong.
_DONE = "realstack.parts.done"


class Unpacking:
    """A cluster whose main part is in place and whose other parts are on their way.

    Other processes of the run learn from a file in the data folder when they are there, or why they are not.
    """

    def __init__(self, prepared: Path, data: Path, parts: Collection[str]) -> None:
        self._prepared, self._data, self._parts = prepared, data, parts
        self._thread = threading.Thread(target=self._run, name="realstack-unpack-parts", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is written any more, whatever came of it."""
        self._thread.join()

    def _run(self) -> None:
        said = ""
        try:
            for part in self._parts:
                unpack(self._prepared / part, self._data / "base" / part)
        except BaseException as failure:  # noqa: BLE001  told to whoever waits for the parts, in any process of the run
            said = f"{type(failure).__name__}: {failure}"
            forget_prepared(self._prepared)
        with suppress(OSError):  # the run is over and its folder gone
            mark_whole(self._data, problem=said)


def mark_whole(data: Path, *, problem: str = "") -> None:
    """Tell every process of the run that all parts of the cluster in *data* are there, or what went wrong."""
    draft = data / f"{_DONE}.draft"
    draft.write_text(problem)
    draft.rename(data / _DONE)


def await_parts(data: Path, *, timeout_s: float) -> None:
    """Return when every part of the cluster in *data* is in place, whoever of the run unpacks it.

    Raises:
        ServerStartFailed: a part could not be unpacked; the kept cluster is forgotten, the next run makes a new one.
        Late: it took longer than *timeout_s* seconds.
    """

    def look() -> str:
        try:
            return (data / _DONE).read_text()
        except FileNotFoundError as missing:
            raise NotReady(f"{data} is still being filled") from missing

    if problem := wait_until(look, timeout_s=timeout_s):
        raise ServerStartFailed(
            service="PostgreSQL",
            version="",
            provider="cache",
            reason=f"its templates could not be unpacked: {problem}",
            log_tail="",
        )


def open_prepared(prepared: Path, data: Path) -> Unpacking | None:
    """Put the cluster kept in *prepared* into *data*, which does not exist; ``None`` when it is missing or damaged."""
    if not unpack_cluster(prepared / _MAIN, data):
        forget_prepared(prepared)
        return None
    parts = (data / _PARTS).read_text().split()
    if not all((prepared / part).is_file() for part in parts):
        forget_prepared(prepared)
        shutil.rmtree(data)
        return None
    os.utime(prepared)
    return Unpacking(prepared, data, parts)


def keep_prepared(data: Path, prepared: Path, *, later: Collection[str]) -> None:
    """Keep the stopped cluster in *data* as *prepared*; somebody else who did the same meanwhile wins.

    Args:
        data: shut down in order.
        prepared: a folder, made here in one step.
        later: oids of the databases that are parts of their own.
    """
    draft = prepared.with_name(f".{prepared.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        for oid in later:
            pack(data / "base" / oid, draft / oid)
        (data / _PARTS).write_text("\n".join(later))
        pack_cluster(data, draft / _MAIN, leave_out=[f"base/{oid}" for oid in later])
        draft.rename(prepared)
    except OSError:
        if not prepared.is_dir():  # it is: another run was quicker, and its cluster is as good
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def forget_prepared(prepared: Path) -> None:
    """Delete a kept cluster, or whatever lies in its place; it is made again when it is wanted."""
    if prepared.is_dir():
        shutil.rmtree(prepared, ignore_errors=True)
    else:
        prepared.unlink(missing_ok=True)
