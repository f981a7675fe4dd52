"""Starting, signalling and reaping the servers of a run: the part of the supervisor that is their parent.

A server gets a session of its own and a parent-death signal, so that even SIGKILL of the supervisor takes it along.
PostgreSQL's backends leave its process group (each calls ``setsid``), so a server's descendants are noted before it is
signalled; the supervisor is a child subreaper, so whoever is orphaned becomes its child and can be ended without a
doubt about whose pid that is.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

TYPE_CHECKING = False  # importing typing takes 9 ms
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
INNER_USER = 1000
LINUX = sys.platform == "linux"
#: What Python and the supervisor ignore or catch; an ignored signal would stay ignored in a server.
_NOT_DEFAULT = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)


class SpawnFailed(Exception):
    """A child could not become what it was to be; *step* is where it stopped."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(step, number)
        self.step, self.number = step, number


class Order:
    """What to start and how."""

    __slots__ = ("argv", "cwd", "death_signal", "env", "log", "run_as", "userns")

    def __init__(
        self,
        argv: list[str],
        *,
        env: dict[str, str] | None,
        cwd: str | None,
        log: str,
        death_signal: int,
        userns: bool,
        run_as: tuple[int, int] | None,
    ) -> None:
        self.argv, self.env, self.cwd, self.log = argv, env, cwd, log
        self.death_signal, self.userns, self.run_as = death_signal, userns, run_as


class Child:
    """One process the supervisor started, alive or remembered."""

    __slots__ = (
        "end_signal",
        "exit_code",
        "kill_after_s",
        "kill_at",
        "log",
        "name",
        "number",
        "pid",
        "scope",
        "stop_signal",
        "waiters",
    )

    def __init__(
        self, number: int, pid: int, *, name: str, scope: str, log: str, stop: int, end: int, kill_after_s: float
    ) -> None:
        self.number, self.pid, self.name, self.scope, self.log = number, pid, name, scope, log
        self.stop_signal, self.end_signal, self.kill_after_s = stop, end, kill_after_s
        self.exit_code: int | None = None
        self.kill_at: float | None = None
        self.waiters: list[Callable[[int], None]] = []


class Processes:
    """The children of the supervisor."""

    def __init__(self, *, umask: int) -> None:
        self._umask = umask
        self._numbers = 0
        self._libc: ctypes.CDLL | None = None
        self._doomed: set[tuple[int, str]] = set()
        self.children: dict[int, Child] = {}
        self._by_pid: dict[int, Child] = {}
        if LINUX:
            self._prctl(PR_SET_CHILD_SUBREAPER, 1)

    def start(self, order: Order, *, name: str, scope: str, stop: int, end: int, kill_after_s: float) -> Child:
        """Start *order* and return the child, which has become the wanted program by then.

        Raises:
            SpawnFailed: it has not.
        """
        pid = self._fork(order)
        self._numbers += 1
        child = Child(
            self._numbers, pid, name=name, scope=scope, log=order.log, stop=stop, end=end, kill_after_s=kill_after_s
        )
        self.children[child.number] = self._by_pid[pid] = child
        self._forget_old()
        return child

    def signal(self, child: Child, number: int, *, tree: bool = False) -> None:
        """Send *number* to the process group of *child*, and to all its descendants when *tree* is set."""
        if child.exit_code is not None:
            return
        if tree or number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGABRT):
            self._signal_all([child], number, tree=tree)
        else:
            _kill_group(child.pid, number)

    def end(self, children: list[Child], *, deadline: float, within_s: float) -> None:
        """Send each of *children* its end signal; they are killed at *deadline* or sooner."""
        alive = [child for child in children if child.exit_code is None]
        family = self._doom(alive)
        for child in alive:
            kill_at = deadline - max(0.0, within_s - child.kill_after_s)
            child.kill_at = kill_at if child.kill_at is None else min(kill_at, child.kill_at)
            _kill_group(child.pid, child.end_signal)
            _kill_group(child.pid, signal.SIGCONT)  # a frozen process hears nothing but SIGKILL
        for pid in family:
            _kill(pid, signal.SIGCONT)

    def kill_overdue(self, now: float) -> None:
        """Send SIGKILL to the children whose time is over."""
        overdue = [each for each in self._by_pid.values() if each.kill_at is not None and each.kill_at <= now]
        if overdue:
            self._signal_all(overdue, signal.SIGKILL, tree=True)
        for child in overdue:
            child.kill_at = None

    def next_deadline(self) -> float | None:
        """Return when ``kill_overdue`` has to be called next."""
        return min((each.kill_at for each in self._by_pid.values() if each.kill_at is not None), default=None)

    def reap(self) -> list[Child]:
        """Collect everything that has ended, kill what it left in its process group, and return our own children."""
        ended = []
        while (found := _next_ended()) is not None:
            pid, exit_code = found
            child = self._by_pid.pop(pid, None)
            if child is not None:
                child.exit_code, child.kill_at = exit_code, None
                ended.append(child)
        if self._doomed and (ended or LINUX):
            self._kill_doomed()
        return ended

    def kill_adopted(self) -> bool:
        """Kill every orphan that became our child; say whether there was one."""
        if not LINUX:
            return False
        me = os.getpid()
        adopted = [pid for pid, (parent, _) in _process_table().items() if parent == me and pid not in self._by_pid]
        for pid in adopted:
            _kill(pid, signal.SIGKILL)
        return bool(adopted)

    def _fork(self, order: Order) -> int:
        try:
            log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpawnFailed("log", error.errno or 0) from error
        report, answer = os.pipe()
        supervisor = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(report)
            raise SpawnFailed("fork", error.errno or 0) from error
        else:
            if pid == 0:
                self._become(order, log, answer, supervisor)
        finally:
            os.close(log)
            os.close(answer)
        return _await_exec(pid, report)

    def _become(self, order: Order, log: int, answer: int, supervisor: int) -> None:
        """Turn this forked child into the wanted program; never returns."""
        step = "session"
        try:
            os.setsid()
            for number in _NOT_DEFAULT:
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            step = "userns"
            if order.userns:
                self._enter_user_namespace()
            step = "run_as"
            if order.run_as is not None:
                _become_user(*order.run_as)
            step = "cwd"
            os.chdir(order.cwd or "/")
            os.umask(self._umask)
            step = "parent"
            # last, since the kernel forgets it when credentials change
            if LINUX:
                self._prctl(PR_SET_PDEATHSIG, order.death_signal)
            if os.getppid() != supervisor:
                os._exit(127)
            step = "exec"
            if order.env is None:
                os.execv(order.argv[0], order.argv)
            os.execve(order.argv[0], order.argv, order.env or {})
        except OSError as error:
            os.write(answer, f"{step} {error.errno or 0}".encode())
        except ValueError:  # a NUL byte in an argument
            os.write(answer, f"{step} {errno.EINVAL}".encode())
        finally:
            os._exit(127)

    def _enter_user_namespace(self) -> None:
        user, group = os.geteuid(), os.getegid()
        self._call("unshare", CLONE_NEWUSER)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{INNER_USER} {user} 1"),
            ("gid_map", f"{INNER_USER} {group} 1"),
        ):
            descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
            os.write(descriptor, text.encode())
            os.close(descriptor)

    def _prctl(self, option: int, value: int) -> None:
        self._call("prctl", option, value, 0, 0, 0)

    def _call(self, function: str, *arguments: int) -> None:
        import ctypes  # 3 ms, paid after the socket listens

        if self._libc is None:
            self._libc = ctypes.CDLL(None, use_errno=True)
        if getattr(self._libc, function)(*(ctypes.c_ulong(each) for each in arguments)) != 0:
            raise OSError(ctypes.get_errno(), function)

    def _signal_all(self, children: list[Child], number: int, *, tree: bool) -> None:
        family = self._doom(children)
        for child in children:
            _kill_group(child.pid, number)
        if tree:
            for pid in family:
                _kill(pid, number)

    def _doom(self, children: list[Child]) -> list[int]:
        """Note the descendants of *children*: once orphaned, they are killed. Return their pids."""
        if not LINUX or not children:
            return []
        table = _process_table()
        family = _descendants({child.pid for child in children}, table)
        self._doomed |= {(pid, table[pid][1]) for pid in family}
        return family

    def _kill_doomed(self) -> None:
        table = _process_table()
        self._doomed = {(pid, since) for pid, since in self._doomed if pid in table and table[pid][1] == since}
        me = os.getpid()
        for pid, _ in self._doomed:
            if table[pid][0] == me:  # ours to reap, so the pid cannot have passed on to somebody else
                _kill(pid, signal.SIGKILL)

    def _forget_old(self, *, keep: int = 1000) -> None:
        if len(self.children) > keep:
            oldest = next((each for each in self.children.values() if each.exit_code is not None), None)
            if oldest is not None:
                del self.children[oldest.number]


def _become_user(user: int, group: int) -> None:
    os.setgroups([group])
    os.setgid(group)
    os.setuid(user)


def _await_exec(pid: int, report: int) -> int:
    """Return *pid* once it has become its program; what it writes instead is where it failed."""
    try:
        failure = os.read(report, 64).decode()
    finally:
        os.close(report)
    if failure:
        os.waitpid(pid, 0)
        step, _, number = failure.partition(" ")
        raise SpawnFailed(step, int(number))
    return pid


def _next_ended() -> tuple[int, int] | None:
    """Reap one child that has ended, its process group first; ``None`` when there is none."""
    try:
        if hasattr(os, "waitid"):
            # looked at before it is reaped: while it is a zombie, nobody else can have its pid or its group
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return None
            _kill_group(found.si_pid, signal.SIGKILL)
            pid, status = os.waitpid(found.si_pid, 0)
        else:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return None
            _kill_group(pid, signal.SIGKILL)
    except ChildProcessError:
        return None
    return pid, os.waitstatus_to_exitcode(status)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone already, or on its way into another user's hands; SIGKILL of its parent ends it


def _kill_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def _process_table() -> dict[int, tuple[int, str]]:
    """Return parent and start time of every process; /proc/PID/task/TID/children is not in every kernel."""
    table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:
                fields = file.read(1024).rpartition(b")")[2].split()
        except OSError:
            continue
        if len(fields) > 19:
            table[int(name)] = (int(fields[1]), fields[19].decode())
    return table


def _descendants(roots: set[int], table: dict[int, tuple[int, str]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found, queue = [], list(roots)
    while queue:
        for pid in children.get(queue.pop(), ()):
            found.append(pid)
            queue.append(pid)
    return found
