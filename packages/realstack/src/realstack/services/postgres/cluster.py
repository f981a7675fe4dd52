"""A stopped cluster in a data folder within milliseconds: initdb once per version, an archive ever after."""

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from realstack._core.archive import pack, unpack
from realstack._core.digest import digest_of
from realstack._core.filelock import locked
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import ArchiveDamaged, ServerStartFailed
from realstack.services.postgres.account import Launch, spawn_postgres
from realstack.services.postgres.control import needless_wal, read_control
from realstack.services.postgres.log import tail

if TYPE_CHECKING:
    from realstack.abc import Installation, Supervisor

_FORMAT = "1"  # part of every archive's name: raise it when clusters are made differently
_UNUSED_S = 60 * 24 * 3600.0
CONF = "realstack.conf"
_ENVIRONMENT = {"LC_ALL": "C"}  # messages in English: they are looked at
_LOCALES = ("C.UTF-8", "C")  # the second where the first is missing


def make_cluster(
    installation: "Installation",
    *,
    data: Path,
    cache: Path,
    supervisor: "Supervisor",
    log: Path,
    options: Sequence[str] = (),
    run_as: tuple[int, int] | None = None,
    fresh: bool = False,
    timeout_s: float = 60.0,
) -> bool:
    """Put a new, stopped cluster into *data*: superuser ``postgres``, UTF8, everybody trusted.

    It comes out of *cache*; the first time, or when what lies there is damaged, initdb makes it and it is kept there.
    Two runs at once make it once.

    Args:
        installation: whose initdb.
        data: does not exist yet, its parent does; the caller has had it owned. It is made with mode 0700.
        cache: the kit's cache folder.
        supervisor: runs initdb.
        log: where initdb's output goes.
        options: further arguments of initdb: ``--locale=sv_SE.UTF-8``.
        run_as: user and group for a root owner; by default a user namespace, and nobody where that is forbidden.
        fresh: do not trust what lies in the cache, replace it: a server would not start with it.
        timeout_s: seconds for initdb, and for another process that makes the same.

    Returns:
        True when it came out of the cache.

    Raises:
        ServerStartFailed: initdb failed; carries its output.
        LockBusy: another process kept making it.
    """
    archive = cluster_archive(installation, cache=cache, options=options)
    if not fresh and unpack_cluster(archive, data, log=log):
        return True
    archive.parent.mkdir(parents=True, exist_ok=True)
    _forget_unused(archive.parent)
    with locked(archive.with_suffix(".lock"), timeout_s=timeout_s):
        if not fresh and unpack_cluster(archive, data, log=log):
            return True
        _Initdb(
            installation=installation,
            data=data,
            supervisor=supervisor,
            log=log,
            options=options,
            run_as=run_as,
            timeout_s=timeout_s,
        ).make()
        try:
            pack_cluster(data, archive)
        except OSError as error:  # the cache is full: this run goes on, the next one pays again
            _note(log, f"{archive} could not be kept: {error}")
    return False


def cluster_archive(installation: "Installation", *, cache: Path, options: Sequence[str] = ()) -> Path:
    """Return where the empty cluster of *installation* is kept; everything that makes it differ is in its name."""
    program = (installation.folder / "initdb").stat()
    made_of = (
        _FORMAT,
        installation.version,
        installation.origin,
        str(program.st_size),
        str(program.st_mtime_ns),
        *options,
    )
    return cache / "clusters" / f"postgres-{installation.version}-{digest_of(made_of)}.cluster"


def unpack_cluster(archive: Path, data: Path, *, log: Path | None = None) -> bool:
    """Unpack a packed cluster into *data*, which does not exist.

    Returns:
        False when *archive* is missing or damaged; *data* does not exist then, and a damaged archive is gone, so that
        the caller makes both anew. *log* is told about it.

    Raises:
        OSError: *data* cannot be written, the file system is full; what was written is gone.
    """
    try:
        unpack(archive, data)
    except ArchiveDamaged as error:
        _delete(archive)
        _note(log, f"made anew, since {error}")
        return False
    except (FileNotFoundError, NotADirectoryError):
        if not data.parent.is_dir():
            raise
        return False
    except FileExistsError:
        raise
    except (OSError, BufferError) as error:
        from shutil import rmtree

        rmtree(data, ignore_errors=True)
        # the mapped archive cannot be closed while a failed write still holds a part of it; the write is what failed
        if isinstance(error, BufferError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    data.chmod(0o700)
    with contextlib.suppress(OSError):
        os.utime(archive)  # in use, see _forget_unused
    return True


def pack_cluster(data: Path, archive: Path, *, leave_out: Collection[str] = ()) -> int:
    """Keep the stopped cluster in *data* as one file, without the write-ahead log it no longer needs.

    Args:
        data: the cluster.
        archive: the file.
        leave_out: paths below *data* that the caller keeps elsewhere.

    Returns:
        The size of the archive in bytes.

    Raises:
        ValueError: the cluster was not shut down in order, so that its files alone are not the whole truth.
    """
    if not read_control(data).is_shut_down:
        raise ValueError(f"the cluster in {data} was not shut down in order and cannot be packed")
    return pack(data, archive, skip={*needless_wal(data), "postmaster.pid", "postmaster.opts", *leave_out})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Initdb:
    """One way to run initdb."""

    installation: "Installation"
    data: Path
    supervisor: "Supervisor"
    log: Path
    options: Sequence[str]
    run_as: tuple[int, int] | None
    timeout_s: float

    def make(self) -> None:
        """Make the cluster in the first locale this machine has."""
        code = 0
        for locale in _LOCALES:
            self.data.mkdir(mode=0o700, exist_ok=True)
            code = self._run(f"--locale={locale}")
            if code == 0:
                _write_conf(self.data)
                return
            if "locale" not in tail(self.log, lines=5):
                break
        raise self._failed(f"initdb ended with exit code {code}")

    def _run(self, locale: str) -> int:
        argv = [os.fspath(self.installation.folder / "initdb"), "-D", os.fspath(self.data.absolute())]
        # the caller's options last: of two that say different things, the last one counts
        argv += ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", locale, *self.options]
        launch = Launch(
            argv=argv, name="initdb", log=self.log, env=_ENVIRONMENT, data=self.data, end_signal=signal.SIGKILL
        )
        process = spawn_postgres(self.supervisor, launch, run_as=self.run_as)

        def has_ended() -> int:
            code = process.exit_code()
            if code is None:
                raise NotReady("initdb is running")
            return code

        try:
            return wait_until(has_ended, timeout_s=self.timeout_s, max_pause_s=0.01)
        except Late as late:
            process.stop()
            raise self._failed(f"initdb took longer than {late.waited_s:.0f} s") from late

    def _failed(self, reason: str) -> ServerStartFailed:
        return ServerStartFailed(
            service="PostgreSQL",
            version=self.installation.version,
            provider=self.installation.provider,
            reason=reason,
            log_tail=tail(self.log),
        )


def _note(log: Path | None, text: str) -> None:
    if log is not None:
        with log.open("a") as file:
            file.write(f"realstack: {text}\n")


def _delete(file: Path) -> None:
    with contextlib.suppress(OSError):  # gone already, or a cache we may not write: nothing depends on it
        file.unlink()


def _forget_unused(folder: Path) -> None:
    """Delete clusters of servers that were upgraded or removed since; asked only when a new one is made."""
    for archive in folder.glob("*.cluster"):
        with contextlib.suppress(OSError):
            if time.time() - archive.stat().st_mtime > _UNUSED_S:
                archive.unlink()


def _write_conf(data: Path) -> None:
    """Keep what initdb decided of its 800 lines, and have our own file read last; ALTER SYSTEM wins over both."""
    conf = data / "postgresql.conf"
    lines = (line.partition("#")[0].strip() for line in conf.read_text().splitlines())
    conf.write_text("".join(f"{line}\n" for line in lines if line) + f"include_if_exists = '{CONF}'\n")
