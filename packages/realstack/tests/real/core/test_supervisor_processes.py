"""What a run's clients may ask of its supervisor: processes, their logs, users, signals, failures."""

import errno
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, join_supervisor, start_supervisor
from realstack._core.waiting import NotReady, wait_until
from realstack.errors import SpawnFailed

from .conftest import DEAF, LEAVE_DAEMON, gone

SLEEP = ["/bin/sleep", "1000"]
IS_ROOT = os.geteuid() == 0


def _said(log: Path, wanted: str) -> str:
    def look() -> str:
        text = log.read_text()
        if wanted not in text:
            raise NotReady(text)
        return text

    return wait_until(look, timeout_s=5)


def test_a_process_writes_both_its_streams_to_the_end_of_its_log(supervision: Supervision, base: Path) -> None:
    log = base / "log"
    log.write_text("before\n")

    process = supervision.spawn(["/bin/sh", "-c", "echo out; echo err >&2; exit 7"], name="talker", log=log)

    assert process.wait(timeout_s=5) == 7
    assert (process.is_alive(), process.exit_code()) == (False, 7)
    assert log.read_text() == "before\nout\nerr\n"


def test_a_process_gets_the_given_environment_and_folder_and_no_descriptor_of_ours(
    supervision: Supervision, base: Path
) -> None:
    log = base / "log"
    script = "/usr/bin/env; pwd; ls /proc/self/fd | tr '\\n' ' '; cat; umask"

    supervision.spawn(["/bin/sh", "-c", script], name="look", log=log, env={"ONE": "1"}, cwd=base).wait(timeout_s=5)

    said = log.read_text()
    assert "ONE=1" in said
    assert "HOME=" not in said
    assert f"\n{base}\n" in said
    assert "0 1 2 3 " in said  # 3 is the folder that ls reads
    umask = os.umask(0)
    os.umask(umask)
    assert said.endswith(f"{umask:04o}\n")


def test_without_an_environment_it_gets_the_owners(supervision: Supervision, base: Path) -> None:
    supervision.spawn(["/usr/bin/env"], name="env", log=base / "log").wait(timeout_s=5)

    assert "HOME=" in (base / "log").read_text()


def test_a_process_has_a_session_of_its_own_and_default_signals(supervision: Supervision, base: Path) -> None:
    process = supervision.spawn(SLEEP, name="sleep", log=base / "log")

    assert os.getsid(process.pid) == process.pid
    lines = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "Sig" in line
    )
    assert int(lines["SigIgn"], 16) & 0x7FFFFFFF == 0  # glibc's posix_spawn ignores its own signals 32 and 33
    assert int(lines["SigBlk"], 16) == 0


def test_stop_ends_a_process_with_its_own_signal(supervision: Supervision, base: Path) -> None:
    script = "trap 'echo interrupted; exit 5' INT; while :; do read -t 0.1 line; done <> <(:)"
    process = supervision.spawn(["/bin/bash", "-c", f"echo up; {script}"], name="p", log=base / "log", stop_signal=2)
    _said(base / "log", "up")

    assert process.stop() == 5
    assert "interrupted" in (base / "log").read_text()


def test_a_process_that_is_deaf_is_killed_when_its_time_is_over(supervision: Supervision, base: Path) -> None:
    process = supervision.spawn(["/bin/bash", "-c", DEAF], name="deaf", log=base / "log")
    _said(base / "log", "deaf")
    started = time.perf_counter()

    assert process.stop(timeout_s=0.3) == -signal.SIGKILL
    assert 0.25 < time.perf_counter() - started < 1.5


def test_a_frozen_process_is_stopped_in_order_too(supervision: Supervision, base: Path) -> None:
    script = "trap 'exit 3' TERM; echo up; while :; do read -t 0.1 line; done <> <(:)"
    process = supervision.spawn(["/bin/bash", "-c", script], name="p", log=base / "log")
    _said(base / "log", "up")
    process.signal(signal.SIGSTOP)

    assert process.stop() == 3


def test_a_daemon_that_left_its_server_ends_with_the_run(base: Path) -> None:
    with start_supervisor(base / "run") as supervision:
        env = {"LOG": str(base / "log"), "PATH": "/usr/bin:/bin"}
        process = supervision.spawn(["/bin/bash", "-c", LEAVE_DAEMON], name="p", log=base / "log", env=env)
        assert process.wait(timeout_s=5) == 0
        daemon = int((base / "log").read_text().split()[1])
        os.kill(daemon, 0)

    gone(daemon)


def test_what_left_the_process_group_ends_with_the_process(supervision: Supervision, base: Path) -> None:
    script = "setsid sleep 1000 & echo child $!; setsid sh -c 'echo inner $$; exec sleep 1000' & echo up; wait"
    process = supervision.spawn(["/bin/bash", "-c", script], name="parent", log=base / "log")
    said = _said(base / "log", "inner")
    family = [int(line.split()[1]) for line in said.splitlines() if line.startswith(("child", "inner"))]
    assert len(family) == 2

    process.signal(signal.SIGKILL)

    for pid in (process.pid, *family):
        wait_until(lambda pid=pid: gone(pid), timeout_s=2)


@pytest.mark.parametrize("tree", [True, False])
def test_only_a_signal_to_the_tree_reaches_what_left_the_group(
    supervision: Supervision, base: Path, *, tree: bool
) -> None:
    # short turns: a signal that comes just before bash blocks in read is only acted on when read returns
    listen = "while :; do read -t 0.1 line; done <> <(:)"
    inner = f"trap 'echo heard' USR1; trap 'echo asked' USR2; echo up $$; {listen}"
    (base / "inner").write_text(inner)
    script = f"trap : USR1; setsid bash {base}/inner & {listen}"
    process = supervision.spawn(["/bin/bash", "-c", script], name="p", log=base / "log")
    inner_pid = int(_said(base / "log", "up").split()[1])

    process.signal(signal.SIGUSR1, tree=tree)

    if tree:
        _said(base / "log", "heard")
    else:
        os.kill(inner_pid, signal.SIGUSR2)
        assert "heard" not in _said(base / "log", "asked")


def test_no_zombies_are_kept(supervision: Supervision, base: Path) -> None:
    started = [supervision.spawn(["/bin/true"], name="true", log=base / "log") for _ in range(20)]

    assert [each.wait(timeout_s=5) for each in started] == [0] * 20
    for each in started:
        wait_until(lambda pid=each.pid: gone(pid), timeout_s=1)


@pytest.mark.parametrize(
    ("change", "step", "number"),
    [
        ({"argv": ["/nowhere/server"]}, "exec", errno.ENOENT),
        ({"argv": ["/tmp"]}, "exec", errno.EACCES),
        ({"cwd": Path("/nowhere")}, "cwd", errno.ENOENT),
        ({"log": Path("/nowhere/log")}, "log", errno.ENOENT),
        ({"argv": ["/bin/echo", "a\0b"]}, "exec", errno.EINVAL),
    ],
)
def test_a_failed_start_says_at_which_step_and_why(
    supervision: Supervision, base: Path, change: dict[str, object], step: str, number: int
) -> None:
    order: dict[str, object] = {"argv": SLEEP, "log": base / "log", **change}

    with pytest.raises(SpawnFailed) as caught:
        supervision.spawn(name="server", **order)  # type: ignore[arg-type]

    assert (caught.value.step, caught.value.errno) == (step, number)
    assert os.strerror(number) in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).step == step
    assert supervision.processes() == ()


@pytest.mark.skipif(not IS_ROOT, reason="only root may become another user")
def test_a_process_can_be_another_user(supervision: Supervision, base: Path) -> None:
    supervision.spawn(["/usr/bin/id"], name="id", log=base / "log", run_as=(65534, 65534)).wait(timeout_s=5)

    said = (base / "log").read_text()
    assert "uid=65534" in said
    assert "gid=65534" in said
    assert "0(root)" not in said


def test_a_process_in_a_user_namespace_is_user_1000_and_owns_our_files(supervision: Supervision, base: Path) -> None:
    script = f"id -u; id -g; touch {base}/made"
    process = supervision.spawn(["/bin/sh", "-c", script], name="id", log=base / "log", userns=True)

    assert process.wait(timeout_s=5) == 0
    assert (base / "log").read_text() == "1000\n1000\n"
    assert (base / "made").stat().st_uid == os.geteuid()


def test_relative_programs_are_refused_before_anybody_is_asked(supervision: Supervision, base: Path) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        supervision.spawn(["sleep", "1"], name="sleep", log=base / "log")


def test_client_processes_and_folders_end_with_the_client(supervision: Supervision, base: Path) -> None:
    with join_supervisor(supervision.run_folder) as joined:
        process = joined.spawn(SLEEP, name="mine", log=base / "log", scope="client")
        joined.own_folder(base / "mine", scope="client")
        (base / "mine").mkdir()
        kept = joined.spawn(SLEEP, name="everybody's", log=base / "log")
        joined.own_folder(base / "everybody's")
        (base / "everybody's").mkdir()

    gone(process.pid)
    assert not (base / "mine").exists()
    assert (base / "everybody's").exists()
    assert [each.pid for each in supervision.processes()] == [kept.pid]


CLIENT = """
import os, subprocess, sys
from pathlib import Path
from realstack._core.supervision import join_supervisor
joined = join_supervisor(Path(sys.argv[1]))
base = Path(sys.argv[2])
joined.own_folder(base / "mine", scope="client")
(base / "mine").mkdir()
process = joined.spawn(["/bin/sleep", "1000"], name="mine", log=base / "log", scope="client")
os.set_inheritable(joined._connection._socket.fileno(), True)
child = subprocess.Popen(["/bin/sleep", "1000"], close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(process.pid, child.pid, flush=True)
sys.stdin.read()
"""


def test_client_things_end_when_the_client_is_killed_though_its_connection_was_inherited(
    supervision: Supervision, base: Path
) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, supervision.run_folder, base], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert client.stdout is not None
    pid, child = map(int, client.stdout.readline().split())

    client.kill()

    wait_until(lambda: gone(pid), timeout_s=2)
    wait_until(lambda: _is_gone(base / "mine"), timeout_s=2)
    assert supervision.processes() == ()
    os.kill(child, signal.SIGKILL)
    client.communicate()


def _is_gone(folder: Path) -> None:
    if folder.exists():
        raise NotReady(f"{folder} is there")


def test_many_clients_at_once_get_their_own_answers(supervision: Supervision, base: Path) -> None:
    failures: list[object] = []

    def work(number: int) -> None:
        with join_supervisor(supervision.run_folder) as joined:
            for turn in range(10):
                wanted = (number * 10 + turn) % 250
                process = joined.spawn(["/bin/sh", "-c", f"exit {wanted}"], name="p", log=base / "log", scope="client")
                if (got := process.wait(timeout_s=20)) != wanted:
                    failures.append((wanted, got))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_threads_share_one_connection(supervision: Supervision, base: Path) -> None:
    process = supervision.spawn(SLEEP, name="sleep", log=base / "log")
    answers: list[bool] = []

    threads = [threading.Thread(target=lambda: answers.extend(process.is_alive() for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [True] * 200


def test_a_forked_child_may_ask_and_ends_nothing(supervision: Supervision, base: Path) -> None:
    process = supervision.spawn(SLEEP, name="sleep", log=base / "log", scope="client")

    child = os.fork()
    if child == 0:
        try:
            is_alive = process.is_alive()
            supervision.close()
            os._exit(0 if is_alive else 1)
        finally:
            os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert process.is_alive()


def test_requests_may_be_sent_ahead_and_nonsense_is_answered(supervision: Supervision) -> None:
    supervision.processes()
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(str(supervision.run_folder / "supervisor.sock"))
        requests = [
            {"id": 1, "op": "list"},
            {"id": 2, "op": "dance"},
            {"id": 3, "op": "status", "process": 99},
            {"id": 4},
        ]
        raw.sendall("".join(json.dumps(each) + "\n" for each in requests).encode())
        with raw.makefile() as lines:
            answers = [json.loads(lines.readline()) for _ in requests]

        assert [each["id"] for each in answers] == [1, 2, 3, 4]
        assert [each.get("error") for each in answers] == [None, "request", "request", "request"]

    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(supervision.run_folder / "supervisor.sock"))
        raw.sendall(b"GET / HTTP/1.1\n")
        raw.settimeout(5)
        assert raw.recv(100) == b""
    assert supervision.processes() == ()


def test_waiting_for_a_process_times_out(supervision: Supervision, base: Path) -> None:
    process = supervision.spawn(SLEEP, name="sleep", log=base / "log")

    with pytest.raises(TimeoutError):
        process.wait(timeout_s=0.05)
