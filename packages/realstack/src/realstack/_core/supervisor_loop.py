"""The supervisor itself: one process per run, parent of every server, that ends them all when the run ends.

It waits for five things at once: the end of the lease (a pipe its owner holds, and the owner's own death, which a
forked child holding that pipe cannot hide), requests on ``supervisor.sock``, clients that go away, children that end,
and deadlines. Requests and answers are JSON objects, one per line; an answer carries the ``id`` of its request.
"""

from __future__ import annotations

import _socket
import os
import select
import sys
import time

from realstack._core.supervisor_folders import LOG, SOCKET, delete_dead_runs, make_run_folder

TYPE_CHECKING = False  # importing typing takes 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from realstack._core.supervisor_client import Client
    from realstack._core.supervisor_run import Run

#: Where the system cannot tell us of the owner's death, it is looked for this often.
OWNER_CHECK_S = 0.2
LEASE = 0


class Loop:
    """Waits, and tells the run what happened."""

    def __init__(self, run_folder: str, owner: int, listener: _socket.socket, umask: int) -> None:
        # imported while the first client may already be waiting at the listening socket
        import signal
        import socket

        from realstack._core.supervisor_client import open_pidfd
        from realstack._core.supervisor_run import Run

        self._folder, self._owner = run_folder, owner
        self._counted = 0
        self._clients: set[Client] = set()
        self._poll = select.poll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._listener = socket.socket(fileno=listener.detach())
        self._listener.settimeout(0)
        self.run: Run = Run(run_folder, umask=umask, drop_lease=self._drop_lease)
        self._wake, wake = os.pipe()
        for descriptor in (self._wake, wake):
            os.set_blocking(descriptor, False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, _note)
        for number in (signal.SIGINT, signal.SIGHUP):  # Ctrl-C is the owner's, who then ends its lease
            signal.signal(number, signal.SIG_IGN)
        self._end_signal = bytes([signal.SIGTERM])
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._watch(self._wake, self._on_signal)
        self._watch(self._listener.fileno(), self._on_connection)
        self._owner_pidfd: int | None = None
        if owner:
            self._owner_pidfd = open_pidfd(owner)
            self._watch(LEASE, self._on_lease)
            if self._owner_pidfd is not None:
                self._watch(self._owner_pidfd, self._on_lease)
        self._tidy_at: float | None = time.monotonic() + 1.0

    def serve(self) -> None:
        """Work until the run is over and everything of it is gone."""
        while not self.run.is_over:
            ready = self._poll.poll(self._pause_ms())
            # new connections last: they would get the numbers of descriptors that an event of this round closed
            for descriptor, events in sorted(ready, key=lambda event: event[0] == self._listener.fileno()):
                react = self._watched.get(descriptor)
                if react is not None:  # an event before it in this round may have closed it
                    react(events)
            if self._owner and os.getppid() != self._owner:
                self.run.end()
            self.run.go_on(time.monotonic())
            self._watch_slow_readers()
            self._tidy()

    def _pause_ms(self) -> float | None:
        waits = [self.run.next_deadline(), self._tidy_at]
        if self._owner and self._owner_pidfd is None:
            waits.append(time.monotonic() + OWNER_CHECK_S)
        soonest = min((each for each in waits if each is not None), default=None)
        return None if soonest is None else max(0.0, (soonest - time.monotonic()) * 1000 + 1)

    def _watch(self, descriptor: int, react: Callable[[int], None], events: int = select.POLLIN) -> None:
        self._watched[descriptor] = react
        self._poll.register(descriptor, events)

    def _forget(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _drop_lease(self) -> None:
        """The run goes on without its owner until somebody ends it."""
        self._owner = 0
        self._forget(LEASE)
        if self._owner_pidfd is not None:
            self._forget(self._owner_pidfd)

    def _on_lease(self, _events: int) -> None:
        self._drop_lease()
        self.run.end()

    def _on_signal(self, _events: int) -> None:
        numbers = os.read(self._wake, 4096)
        self.run.reap()
        if self._end_signal in numbers:
            self.run.end()

    def _on_connection(self, _events: int) -> None:
        from realstack._core.supervisor_client import Client

        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # it has gone again, or there are too many of them
            sys.stderr.write(f"no connection: {error}\n")
            return
        connection.settimeout(0)
        self._counted += 1
        try:
            client = Client(connection, self._counted)
        except (OSError, PermissionError) as error:
            sys.stderr.write(f"refused a client: {error}\n")
            connection.close()
            return
        self._clients.add(client)
        self._watch(client.descriptor, lambda events: self._on_client(client, events))
        if client.pidfd is not None:
            self._watch(client.pidfd, lambda _events: self._on_departure(client))

    def _on_client(self, client: Client, events: int) -> None:
        try:
            if events & ~select.POLLOUT:
                for request in client.requests():
                    self.run.answer(client, request)
            client.flush()
        except EOFError:
            self._on_departure(client)
        except ValueError as error:
            sys.stderr.write(f"client {client.pid}: {error}\n")
            self._on_departure(client)

    def _watch_slow_readers(self) -> None:
        for client in self._clients:
            self._poll.modify(client.descriptor, select.POLLIN | (select.POLLOUT if client.is_behind else 0))

    def _on_departure(self, client: Client) -> None:
        self._clients.remove(client)
        self._forget(client.descriptor)
        if client.pidfd is not None:
            self._forget(client.pidfd)
        client.close()
        self.run.end_scope(client.scope)

    def _tidy(self) -> None:
        """Once, when the run has had its quick start: delete what runs before a machine crash left behind."""
        if self._tidy_at is not None and self._tidy_at <= time.monotonic():
            self._tidy_at = None
            base = os.path.dirname(self._folder)
            # in a folder that is not the kit's own, nobody but the runs themselves deletes anything
            for problem in delete_dead_runs(base) if os.path.basename(base) == f"realstack-{os.geteuid()}" else ():
                sys.stderr.write(f"{problem}\n")


def _note(*_: object) -> None:
    """Let the signal through to the wake-up descriptor."""


def listen(run_folder: str) -> _socket.socket:
    """Return the listening socket; ``_socket`` since the first client must not wait for the imports of ``socket``.

    It gets its name when it listens: a client that finds it is never refused, unless the supervisor was killed.
    """
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listener.bind(f"{run_folder}/.{SOCKET}")
    os.chmod(f"{run_folder}/.{SOCKET}", 0o600)
    listener.listen(128)
    os.rename(f"{run_folder}/.{SOCKET}", f"{run_folder}/{SOCKET}")
    return listener


def settle_in(run_folder: str) -> None:
    """Leave the owner's session, folder and descriptors, so that nobody waits for this process to close them."""
    try:
        os.setsid()
    except PermissionError:
        pass  # the owner's spawn has done it
    os.chdir("/")
    log = os.open(f"{run_folder}/{LOG}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def main(arguments: list[str]) -> NoReturn:
    """Supervise the run in the folder and for the owner that *arguments* name; owner 0 is nobody."""
    run_folder, owner = arguments[0], int(arguments[1])
    os.closerange(3, 1 << 20)
    umask = os.umask(0o077)
    alive = make_run_folder(run_folder)
    settle_in(run_folder)
    loop = Loop(run_folder, owner, listen(run_folder), umask)
    try:
        loop.serve()
    except BaseException:  # noqa: BLE001  whatever it is: no server may outlive its supervisor
        import traceback

        traceback.print_exc()
        loop.run.end_by_force()
        sys.stderr.flush()
        os._exit(1)
    os.close(alive)
    sys.stderr.flush()
    os._exit(0)  # there is nothing left to finalise
