"""The way to the supervisor: start one, or join the one of a run, and have it start and end processes.

The owner of a run calls ``start_supervisor`` and holds the lease: when the owner ends, in whatever way, the supervisor
ends everything. Other processes of the run call ``join_supervisor``. Both may be used from several threads and survive
a fork: the forked child gets a connection of its own and never ends what its parent holds.
"""

import contextlib
import os
import signal
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from realstack._core.supervisor_folders import ALIVE, LOG, SOCKET, delete_dead_run, delete_run_folder
from realstack._core.supervisor_link import Connection
from realstack._core.waiting import Late, NotReady, wait_until
from realstack.errors import FolderRefused, SpawnFailed, SupervisorLost

Scope = Literal["run", "client"]

_CONNECT_WITHIN_S = 10.0
_ANSWER_WITHIN_S = 30.0
_SCRIPT = os.fspath(Path(__file__).with_name("supervisor.py"))


class SupervisedProcess:
    """One process the supervisor started."""

    def __init__(self, supervision: "Supervision", *, number: int, pid: int, name: str) -> None:
        self._supervision = supervision
        self.number, self.pid, self.name = number, pid, name

    def __repr__(self) -> str:
        return f"SupervisedProcess(name={self.name!r}, pid={self.pid})"

    def is_alive(self) -> bool:
        return self.exit_code() is None

    def exit_code(self) -> int | None:
        """Return its exit code once it has ended; negative: ended by that signal."""
        code: int | None = self._supervision.ask("status", process=self.number)["exit_code"]
        return code

    def signal(self, number: int, *, tree: bool = False) -> None:
        """Send *number* to its process group; with *tree* to everything that descends from it, too."""
        self._supervision.ask("signal", process=self.number, number=int(number), tree=tree)

    def wait(self, *, timeout_s: float) -> int:
        """Return its exit code when it has ended.

        Raises:
            TimeoutError: it has not after *timeout_s* seconds.
        """
        answer = self._supervision.ask_apart("wait", within_s=timeout_s, process=self.number)
        return int(answer["exit_code"])

    def stop(self, *, timeout_s: float = 5.0) -> int | None:
        """End it in order, after *timeout_s* seconds by force; return its exit code."""
        within_s = timeout_s + _ANSWER_WITHIN_S
        answer = self._supervision.ask_apart("stop", within_s=within_s, process=self.number, timeout_s=timeout_s)
        return int(answer["exit_code"])


class Supervision:
    """A connection to the supervisor of one run."""

    def __init__(self, run_folder: Path, *, supervisor_pid: int | None = None, lease: int | None = None) -> None:
        self.run_folder = run_folder
        self.log = run_folder / LOG
        self._owner = os.getpid()
        self._supervisor_pid = supervisor_pid
        self._lease = lease
        self._exit_code: int | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        _SUPERVISIONS.add(self)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        scope: Scope = "run",
        stop_signal: int = signal.SIGTERM,
        end_signal: int | None = None,
        kill_after_s: float = 5.0,
        userns: bool = False,
        run_as: tuple[int, int] | None = None,
    ) -> SupervisedProcess:
        """Start *argv* as ``realstack.abc.Supervisor.spawn`` promises.

        Raises:
            SpawnFailed: it could not become that program; names the step and the system's reason.
            SupervisorLost: nobody was there to start it.
        """
        argv = [os.fspath(each) for each in argv]
        if not argv or not Path(argv[0]).is_absolute():
            raise ValueError(f"argv={argv!r} must start with the absolute path of a program")
        answer = self.ask(
            "spawn",
            argv=argv,
            name=name,
            log=os.fspath(log.absolute()),
            env=None if env is None else dict(env),
            cwd=None if cwd is None else os.fspath(cwd.absolute()),
            scope=scope,
            stop_signal=int(stop_signal),
            end_signal=int(stop_signal if end_signal is None else end_signal),
            # nobody follows up on it: who did not say what ends it without fail is killed
            death_signal=int(signal.SIGKILL if end_signal is None else end_signal),
            kill_after_s=kill_after_s,
            userns=userns,
            run_as=run_as,
        )
        return SupervisedProcess(self, number=answer["process"], pid=answer["pid"], name=name)

    def own_folder(self, folder: Path, *, scope: Scope = "run") -> None:
        """Have *folder* deleted at the end of *scope*; asked before it is made, its parent exists.

        Raises:
            FolderRefused: it exists already, or is not one that may be deleted.
        """
        self.ask("own_folder", folder=os.fspath(folder), scope=scope)

    def at_end(self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> None:
        """Have *argv* run once when the run is over, while its servers go down; killed after *timeout_s* seconds."""
        self.ask("at_end", argv=list(argv), timeout_s=timeout_s, env=None if env is None else dict(env))

    def processes(self) -> tuple[SupervisedProcess, ...]:
        """Return the processes of the run that have not ended, oldest first."""
        return tuple(
            SupervisedProcess(self, number=each["process"], pid=each["pid"], name=each["name"])
            for each in self.ask("list")["processes"]
            if each["exit_code"] is None
        )

    def detach(self) -> None:
        """Give up the lease: the run goes on, without an owner, until somebody calls ``end``."""
        self.ask("detach")
        if self._is_owner and self._lease is not None:
            os.close(self._lease)
            self._lease = None

    def end(self, *, timeout_s: float = 10.0) -> None:
        """End the run: every server and folder of it is gone when this returns.

        Raises:
            SupervisorLost: the supervisor did not finish within *timeout_s* seconds.
        """
        try:
            with self._open(within_s=timeout_s) as connection:
                connection.exchange({"op": "end"}, within_s=timeout_s)
                connection.await_close(within_s=timeout_s)
        except TimeoutError as error:
            raise self._lost(f"it did not end the run within {timeout_s:g} s") from error
        except (SupervisorLost, OSError, EOFError):
            pass  # it has ended before, or was killed; the check below tells
        if self.run_folder.exists():
            self._clean_up_after_lost()
        with self._lock:
            self._disconnect()

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Leave: the owner of a lease ends the run, anybody else what lives as long as this connection.

        In a forked child this only closes the child's own connection. May be called twice.
        """
        if self._is_owner and self._lease is not None:
            self.end(timeout_s=timeout_s)
            os.close(self._lease)
            self._lease = None
            self._reap_supervisor(block=True)
        elif self._connection is not None:
            with contextlib.suppress(SupervisorLost):  # then everything it kept is gone, too
                self.ask("leave", within_s=timeout_s)
        with self._lock:
            self._disconnect()

    def __enter__(self) -> "Supervision":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, operation: str, *, within_s: float = _ANSWER_WITHIN_S, **fields: object) -> dict[str, Any]:
        """Send one request over this process's connection and return the answer."""
        with self._lock:
            if self._connection is None:
                self._connection = self._open(within_s=_CONNECT_WITHIN_S)
            try:
                answer = self._connection.exchange({"op": operation, **fields}, within_s=within_s)
            except (OSError, EOFError) as error:
                self._disconnect()
                raise self._lost(str(error) or "it closed the connection") from error
        return self._checked(answer, operation, fields)

    def ask_apart(self, operation: str, *, within_s: float, **fields: object) -> dict[str, Any]:
        """Send one request that may take long over a connection of its own, so that other threads are not held up."""
        with self._open(within_s=_CONNECT_WITHIN_S) as connection:
            try:
                answer = connection.exchange({"op": operation, **fields}, within_s=within_s)
            except TimeoutError:
                raise
            except (OSError, EOFError) as error:
                raise self._lost(str(error) or "it closed the connection") from error
        return self._checked(answer, operation, fields)

    @property
    def _is_owner(self) -> bool:
        return self._owner == os.getpid()

    def _open(self, *, within_s: float) -> Connection:
        """Connect; a supervisor that has just been started may take some milliseconds to listen."""
        path = os.fspath(self.run_folder / SOCKET)

        def connect() -> Connection:
            try:
                return Connection(path)
            except FileNotFoundError as error:
                if not self._may_come_up():
                    raise self._lost(self._epitaph()) from error
                raise NotReady("it does not listen yet") from error

        try:
            return wait_until(connect, timeout_s=within_s, max_pause_s=0.005)
        except Late as late:
            raise self._lost(str(late)) from late
        except OSError as error:  # refused: it was killed, and its socket is still there
            raise self._lost(error.strerror or str(error)) from error

    def _may_come_up(self) -> bool:
        """Whether waiting makes sense: our own supervisor runs, or that of somebody else may just be starting."""
        self._reap_supervisor(block=False)
        return self._exit_code is None and self.run_folder.exists()

    def _reap_supervisor(self, *, block: bool) -> None:
        if self._supervisor_pid is None or self._exit_code is not None or not self._is_owner:
            return
        try:
            pid, status = os.waitpid(self._supervisor_pid, 0 if block else os.WNOHANG)
        except ChildProcessError:  # somebody else in this process waits for every child
            pid, status = self._supervisor_pid, 0
        if pid:
            self._exit_code = os.waitstatus_to_exitcode(status)

    def _epitaph(self) -> str:
        return "nobody listens there" if self._exit_code is None else f"it ended with exit code {self._exit_code}"

    def _clean_up_after_lost(self) -> None:
        """Delete what a killed supervisor could not; its servers end by their parent-death signal."""

        def delete() -> None:
            if self._exit_code is not None and not (self.run_folder / ALIVE).exists():
                delete_run_folder(os.fspath(self.run_folder))  # it ended before it took its lock
            if problems := delete_dead_run(os.fspath(self.run_folder)):
                raise NotReady("; ".join(problems))
            if self.run_folder.exists():
                raise NotReady("its lock is still held")

        self._reap_supervisor(block=False)
        try:
            wait_until(delete, timeout_s=2.0)
        except Late as late:
            raise self._lost(late.last) from late

    def _lost(self, reason: str) -> SupervisorLost:
        try:
            tail = self.log.read_text(errors="replace")[-2000:]
        except OSError:
            tail = ""
        return SupervisorLost(
            run_folder=os.fspath(self.run_folder), log=os.fspath(self.log), reason=reason, log_tail=tail
        )

    def _checked(self, answer: dict[str, Any], operation: str, fields: dict[str, Any]) -> dict[str, Any]:
        match answer.get("error"):
            case None:
                return answer
            case "spawn":
                number = int(answer["errno"])
                program, reason = fields["argv"][0], os.strerror(number)
                raise SpawnFailed(
                    name=fields["name"], program=program, step=answer["step"], errno=number, reason=reason
                )
            case "folder":
                raise FolderRefused(folder=fields["folder"], reason=answer["reason"])
            case "ending":
                raise self._lost(answer["reason"])
        raise ValueError(f"the supervisor refused {operation!r}: {answer['reason']}")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _after_fork_in_child(self) -> None:
        """Let go of the parent's connection and of our copy of its lease; closing them here ends nothing there."""
        self._lock = threading.Lock()
        self._disconnect()
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None


def start_supervisor(run_folder: Path, *, lease: bool = True) -> Supervision:
    """Start the supervisor of a new run and return at once; the first request waits until it listens.

    Args:
        run_folder: made by the supervisor and by this function, deleted by the supervisor; its parent exists.
        lease: whether everything ends when this process ends; ``False`` leaves it running until ``end`` is called.

    Raises:
        SupervisorLost: this Python cannot be started a second time.
    """
    run_folder = run_folder.absolute()
    held, ours = os.pipe()
    dash_b = ["-B"] if sys.dont_write_bytecode else []
    owner = os.getpid() if lease else 0
    argv = [sys.executable, "-I", "-S", *dash_b, _SCRIPT, os.fspath(run_folder), str(owner)]
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions = [
        (os.POSIX_SPAWN_DUP2, held if lease else null, 0),
        (os.POSIX_SPAWN_DUP2, null, 1),
        (os.POSIX_SPAWN_DUP2, null, 2),
    ]
    try:
        pid = _spawn(argv, actions)
    except OSError as error:
        os.close(ours)
        reason = f"{sys.executable!r} cannot be started: {error.strerror}"
        raise SupervisorLost(run_folder=os.fspath(run_folder), log="", reason=reason) from error
    finally:
        os.close(held)
        os.close(null)
    if not lease:
        os.close(ours)
    # only now: before there is a supervisor, nobody would delete it
    run_folder.mkdir(mode=0o700, exist_ok=True)
    return Supervision(run_folder, supervisor_pid=pid, lease=ours if lease else None)


def _spawn(argv: list[str], actions: list[tuple[int, int, int]]) -> int:
    # whatever lets this interpreter run (LD_LIBRARY_PATH) lets the same one run the supervisor
    environment = os.environ  # noqa: TID251
    try:
        return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsigmask=(), setsid=True)
    except NotImplementedError:  # the supervisor then calls setsid itself, a little later
        return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsigmask=())


def join_supervisor(run_folder: Path) -> Supervision:
    """Return a connection to the supervisor of a run that is somebody else's."""
    return Supervision(run_folder)


_SUPERVISIONS: "weakref.WeakSet[Supervision]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for supervision in list(_SUPERVISIONS):
        supervision._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
