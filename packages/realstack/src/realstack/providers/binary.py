"""Provider ``binary``: servers already installed, on PATH or in the folders packagers use."""

import os
from collections.abc import Iterator
from pathlib import Path

from realstack.abc import Installation
from realstack.providers._programs import SERVERS, NotAServer, VersionCache
from realstack.providers.version import numbers_of

_USUAL_FOLDERS = {
    "postgres": (
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/usr/libexec/postgresql*",
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
        "/usr/local/pgsql/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
        "~/.asdf/installs/postgres/*/bin",
        "~/.local/share/mise/installs/postgres/*/bin",
    ),
    "redis": ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"),
    "clickhouse": ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"),
}


def find_binaries(service: str, *, cache: Path, path: str) -> tuple[list[Installation], list[str]]:
    """Return what is installed, PATH first and newest first in each usual folder, and why other finds were left out.

    Args:
        service: ``postgres``, ``redis`` or ``clickhouse``.
        cache: the kit's cache folder, where versions are remembered.
        path: the value of PATH.
    """
    versions = VersionCache(cache)
    found: list[Installation] = []
    refused: list[str] = []
    seen: set[Path] = set()
    for program in _candidates(service, path):
        real = program.resolve()
        if real.name != program.name:  # redis-server that is valkey-server: started by the name it was found under
            real = program
        if real in seen:
            continue
        seen.add(real)
        try:
            found.append(_installation(service, real, versions))
        except NotAServer as reason:
            refused.append(str(reason))
    return found, refused


def _candidates(service: str, path: str) -> Iterator[Path]:
    name = SERVERS[service][0]
    folders = [Path(part) for part in path.split(os.pathsep) if part.startswith("/")]
    for pattern in _USUAL_FOLDERS[service]:
        folders += sorted(_folders_like(pattern), key=lambda folder: numbers_of(str(folder)), reverse=True)
    for folder in folders:
        program = folder / name
        if os.access(program, os.X_OK) and program.is_file():
            yield program


def _folders_like(pattern: str) -> list[Path]:
    expanded = Path(pattern).expanduser()
    if "*" not in pattern:
        return [expanded]
    return list(Path("/").glob(str(expanded)[1:]))


def _installation(service: str, program: Path, versions: VersionCache) -> Installation:
    for other in SERVERS[service][1]:
        if not os.access(program.parent / other, os.X_OK):
            raise NotAServer(f"{program} has no {other} beside it")
    if service == "postgres" and _is_script(program):
        # a shim (pyenv, asdf) or wrapper finds the server anew at every start, and its extensions cannot be known
        raise NotAServer(f"{program} is a script, not the server itself")
    version = versions.version_of(service, program)
    return Installation(
        service=service, provider="binary", version=version, folder=program.parent, origin=str(program.parent)
    )


def _is_script(program: Path) -> bool:
    with program.open("rb") as file:
        return file.read(2) == b"#!"
