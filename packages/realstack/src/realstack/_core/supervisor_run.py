"""What a run has: its processes, its folders, its last commands; what clients may ask of it, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time

from realstack._core.supervisor_folders import (
    SOCKET,
    Claim,
    Refused,
    claim_folder,
    delete_claimed,
    delete_run_folder,
    note_claim,
)
from realstack._core.supervisor_processes import Child, Order, Processes, SpawnFailed

TYPE_CHECKING = False  # importing typing takes 9 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from realstack._core.supervisor_client import Client

#: From the end of the lease to SIGKILL; everything has to be gone within 2 s.
END_WITHIN_S = 1.0
END_SCOPE = "end"


class Ending:
    """A scope on its way out: first its processes, then its folders."""

    __slots__ = ("on_done", "scope", "waiting")

    def __init__(self, scope: str, waiting: list[Child], on_done: Callable[[], None] | None) -> None:
        self.scope, self.waiting, self.on_done = scope, waiting, on_done


class Run:
    """Everything the supervisor answers for."""

    def __init__(self, folder: str, *, umask: int, drop_lease: Callable[[], None]) -> None:
        self.folder = folder
        self.is_over = False
        self._is_ending = False
        self._drop_lease = drop_lease
        self._processes = Processes(umask=umask)
        self._claims: dict[str, tuple[str, Claim]] = {}
        self._last_commands: list[dict[str, Any]] = []
        self._endings: list[Ending] = []
        self._users: set[int] = set()
        self._operations: dict[str, Callable[[Client, dict[str, Any]], dict[str, Any] | None]] = {
            "spawn": self._spawn,
            "signal": self._signal,
            "status": self._status,
            "wait": self._wait,
            "stop": self._stop,
            "own_folder": self._own_folder,
            "at_end": self._at_end,
            "list": self._list,
            "leave": self._leave,
            "detach": self._detach,
            "end": self._end,
        }

    def answer(self, client: Client, request: dict[str, Any]) -> None:
        """Do what *request* asks and answer it, now or when what it waits for has happened."""
        answer: dict[str, Any] | None
        try:
            if self._is_ending and request["op"] != "end":
                answer = {"error": "ending", "reason": "the run is ending"}
            else:
                answer = self._operations[request["op"]](client, request)
        except SpawnFailed as failure:
            answer = {"error": "spawn", "step": failure.step, "errno": failure.number}
        except Refused as refusal:
            answer = {"error": "folder", "reason": str(refusal)}
        except (KeyError, TypeError, ValueError, OSError) as mistake:
            answer = {"error": "request", "reason": f"{type(mistake).__name__}: {mistake}"}
        if answer is not None:
            client.answer({"id": request.get("id"), **answer})

    # --- what clients ask ---------------------------------------------------------------------------------------------

    def _spawn(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        stop, end = int(request["stop_signal"]), int(request["end_signal"])
        run_as = (int(request["run_as"][0]), int(request["run_as"][1])) if request["run_as"] else None
        order = Order(
            [str(each) for each in request["argv"]],
            env=request["env"],
            cwd=request["cwd"],
            log=request["log"],
            death_signal=int(request["death_signal"]),
            userns=bool(request["userns"]),
            run_as=run_as,
        )
        if run_as:
            self._users.add(run_as[0])
        child = self._processes.start(
            order,
            name=str(request["name"]),
            scope=_scope_of(client, request),
            stop=stop,
            end=end,
            kill_after_s=float(request["kill_after_s"]),
        )
        return {"process": child.number, "pid": child.pid}

    def _signal(self, _client: Client, request: dict[str, Any]) -> dict[str, Any]:
        child = self._child(request)
        self._processes.signal(child, int(request["number"]), tree=bool(request.get("tree", False)))
        return _state_of(child)

    def _status(self, _client: Client, request: dict[str, Any]) -> dict[str, Any]:
        self.reap()
        return _state_of(self._child(request))

    def _wait(self, client: Client, request: dict[str, Any]) -> dict[str, Any] | None:
        child = self._child(request)
        if child.exit_code is not None:
            return _state_of(child)
        child.waiters.append(lambda _code: client.answer({"id": request.get("id"), **_state_of(child)}))
        return None

    def _stop(self, client: Client, request: dict[str, Any]) -> dict[str, Any] | None:
        child = self._child(request)
        if child.exit_code is None:
            self._processes.signal(child, child.stop_signal)
            self._processes.signal(child, signal.SIGCONT)  # a frozen process hears nothing but SIGKILL
            child.kill_at = time.monotonic() + float(request["timeout_s"])
        return self._wait(client, request)

    def _own_folder(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        folder = str(request["folder"])
        if folder not in self._claims:
            claim = claim_folder(folder, keep=(self.folder, os.path.expanduser("~")))
            note_claim(self.folder, claim)
            self._claims[folder] = (_scope_of(client, request), claim)
        return {}

    def _at_end(self, _client: Client, request: dict[str, Any]) -> dict[str, Any]:
        self._last_commands.append(request)
        return {}

    def _list(self, _client: Client, _request: dict[str, Any]) -> dict[str, Any]:
        self.reap()
        processes = [
            {"process": each.number, "name": each.name, "scope": each.scope, "log": each.log, **_state_of(each)}
            for each in self._processes.children.values()
        ]
        return {"processes": processes, "folders": sorted(self._claims), "supervisor": os.getpid()}

    def _leave(self, client: Client, request: dict[str, Any]) -> dict[str, Any] | None:
        self.end_scope(client.scope, on_done=lambda: client.answer({"id": request.get("id")}))
        return None

    def _detach(self, _client: Client, _request: dict[str, Any]) -> dict[str, Any]:
        self._drop_lease()
        return {}

    def _end(self, _client: Client, _request: dict[str, Any]) -> dict[str, Any]:
        self.end()
        return {}

    def _child(self, request: dict[str, Any]) -> Child:
        return self._processes.children[int(request["process"])]

    # --- how it ends --------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End everything: the last commands run while the servers go down, then the folders are deleted."""
        if self._is_ending:
            return
        self._is_ending = True
        try:
            os.unlink(f"{self.folder}/{SOCKET}")
        except FileNotFoundError:
            pass
        commands = [child for request in self._last_commands if (child := self._start_last(request)) is not None]
        servers = [
            each for each in self._processes.children.values() if each.exit_code is None and each not in commands
        ]
        self._processes.end(servers, deadline=time.monotonic() + END_WITHIN_S, within_s=END_WITHIN_S)
        self._endings.append(Ending(END_SCOPE, [*commands, *servers], None))

    def end_scope(self, scope: str, *, on_done: Callable[[], None] | None = None) -> None:
        """End what lives no longer than *scope*: its processes, then its folders."""
        children = [
            each for each in self._processes.children.values() if each.scope == scope and each.exit_code is None
        ]
        self._processes.end(children, deadline=time.monotonic() + END_WITHIN_S, within_s=END_WITHIN_S)
        if children or on_done is not None or any(owner == scope for owner, _ in self._claims.values()):
            self._endings.append(Ending(scope, children, on_done))

    def end_by_force(self) -> None:
        """Kill everything and delete the folders at once: the supervisor itself has failed."""
        for child in self._processes.children.values():
            self._processes.signal(child, signal.SIGKILL, tree=True)
        self._kill_orphans()
        self._delete_folders(END_SCOPE)
        delete_run_folder(self.folder, users=self._users)

    def reap(self) -> None:
        """Collect the children that have ended and tell whoever waits for them."""
        for child in self._processes.reap():
            for tell in child.waiters:
                tell(child.exit_code or 0)
            child.waiters.clear()

    def go_on(self, now: float) -> None:
        """Do what is due: kill who is late, delete the folders of who is gone."""
        self._processes.kill_overdue(now)
        for ending in list(self._endings):
            if any(child.exit_code is None for child in ending.waiting):
                continue
            if ending.scope == END_SCOPE:
                self._finish()
                return
            self._endings.remove(ending)
            self._delete_folders(ending.scope)
            if ending.on_done is not None:
                ending.on_done()

    def next_deadline(self) -> float | None:
        """Return when ``go_on`` has to be called at the latest."""
        return self._processes.next_deadline()

    def _start_last(self, request: dict[str, Any]) -> Child | None:
        order = Order(
            [str(each) for each in request["argv"]],
            env=request["env"],
            cwd=None,
            log=f"{self.folder}/at_end.log",
            death_signal=signal.SIGKILL,
            userns=False,
            run_as=None,
        )
        try:
            child = self._processes.start(
                order, name="at_end", scope=END_SCOPE, stop=signal.SIGTERM, end=signal.SIGTERM, kill_after_s=0.0
            )
        except SpawnFailed as failure:
            sys.stderr.write(f"last command {order.argv[0]}: {failure.step}: {os.strerror(failure.number)}\n")
            return None
        child.kill_at = time.monotonic() + float(request["timeout_s"])
        return child

    def _finish(self) -> None:
        self._kill_orphans()
        self._delete_folders(END_SCOPE)
        if problem := delete_run_folder(self.folder, users=self._users):
            sys.stderr.write(f"{problem}\n")
        self.is_over = True

    def _kill_orphans(self) -> None:
        """Kill what our servers left behind, and what that leaves behind, until nothing is there."""
        give_up_at = time.monotonic() + END_WITHIN_S
        while self._processes.kill_adopted() and time.monotonic() < give_up_at:
            self.reap()

    def _delete_folders(self, scope: str) -> None:
        for folder, (owner, claim) in list(self._claims.items()):
            if scope in (owner, END_SCOPE):
                del self._claims[folder]
                if problem := delete_claimed(claim, users=self._users):
                    sys.stderr.write(f"{problem}\n")


def _scope_of(client: Client, request: dict[str, Any]) -> str:
    return client.scope if request["scope"] == "client" else "run"


def _state_of(child: Child) -> dict[str, Any]:
    return {"pid": child.pid, "exit_code": child.exit_code}
