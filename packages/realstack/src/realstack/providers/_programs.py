"""What a program says its version is: asked once, then remembered by path, modification time and size."""

import contextlib
import json
import os
from pathlib import Path

#: The program that is the server, what else must lie beside it, and how it says its version.
SERVERS = {
    "postgres": ("postgres", ("initdb",), ("--version",)),
    "redis": ("redis-server", (), ("--version",)),
    "clickhouse": ("clickhouse", (), ("server", "--version")),
}
_SAYS = {"postgres": "(PostgreSQL) ", "redis": "v=", "clickhouse": "version "}
_TIMEOUT_S = 10.0


class NotAServer(Exception):
    """A file that has the name of a server and is none; its text says why."""


class VersionCache:
    """Versions of programs, kept in one small JSON file; a lost or damaged file only costs asking again."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "program-versions.json"
        self._known: dict[str, str] | None = None

    def version_of(self, service: str, program: Path) -> str:
        """Return the version of *program*, running it only when it was never seen as it is now.

        Raises:
            NotAServer: it cannot be run, or does not say what such a server says.
        """
        status = program.stat()
        key = f"{program}|{status.st_mtime_ns}|{status.st_size}"
        known = self._load()
        if key not in known:
            known[key] = ask_version(service, program)
            self._save(program, key)
        return known[key]

    def _load(self) -> dict[str, str]:
        if self._known is None:
            try:
                loaded = json.loads(self._file.read_bytes())
                self._known = {str(key): str(value) for key, value in loaded.items()}
            except (OSError, ValueError, AttributeError):
                self._known = {}
        return self._known

    def _save(self, program: Path, key: str) -> None:
        known = self._load()
        for old in [other for other in known if other.startswith(f"{program}|") and other != key]:
            del known[old]
        temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(known, indent=1))
            temporary.replace(self._file)
        except OSError:  # a cache that is full or read-only: the next run asks again, nothing is lost
            with contextlib.suppress(OSError):
                temporary.unlink()


def ask_version(service: str, program: Path) -> str:
    """Run *program* and return the version it says.

    Raises:
        NotAServer: it cannot be run, or does not say what such a server says.
    """
    import subprocess  # a warm cache never needs it

    argv = [str(program), *SERVERS[service][2]]
    try:
        said = subprocess.run(
            argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotAServer(f"{program} cannot be run: {error}") from error
    _, found, rest = said.stdout.partition(_SAYS[service])
    if said.returncode != 0 or not found:
        first = (said.stdout + said.stderr).strip().partition("\n")[0]
        raise NotAServer(f"{program} does not say it is {service} (exit code {said.returncode}): {first!r}")
    return rest.split()[0].rstrip(".,")
