"""An owner of a run, as a process of its own: starts servers, says what it started, and ends as it is told."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from realstack._core.supervision import start_supervisor

DEAF = "trap '' TERM INT HUP QUIT; while :; do read -t 60 line; done <> <(:)"
FAMILY = "setsid bash -c 'read line < <(tail -f /dev/null)' & wait"


def main(run: Path, data: Path, ending: str) -> None:
    """Start everything a run can have and end in the way *ending* says."""
    supervision = start_supervisor(run)
    supervision.own_folder(data)
    data.mkdir(mode=0o700)
    (data / "some").mkdir()
    (data / "some" / "file").write_text("x" * 10_000)
    (data / "link").symlink_to(Path(__file__).parent)
    started = [
        supervision.spawn(argv, name="server", log=run / "server.log", kill_after_s=60.0)
        for argv in (["/bin/sleep", "1000"], ["/bin/bash", "-c", DEAF], ["/bin/bash", "-c", FAMILY])
    ]
    supervisor = supervision.ask("list")["supervisor"]
    heir = 0
    if ending == "heir":  # a child that has every descriptor of ours, the lease among them
        for descriptor in range(3, 64):
            with contextlib.suppress(OSError):
                os.set_inheritable(descriptor, True)
        heir = subprocess.Popen(["/bin/sleep", "1000"], close_fds=False, stdin=subprocess.DEVNULL).pid
    report = {"pids": [each.pid for each in started], "supervisor": supervisor, "owner": os.getpid(), "heir": heir}
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()
    if ending in ("wait", "heir"):
        sys.stdin.read()
    elif ending == "_exit":
        os._exit(3)
    elif ending == "close":
        supervision.close()
        if run.exists() or data.exists():
            sys.exit("a folder is still there after close()")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
