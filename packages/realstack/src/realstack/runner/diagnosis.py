"""What ``realstack doctor`` finds out: what each provider offers, what the machine allows, what lies around."""

import dataclasses
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack._core.folders import SHARED_MEMORY, SHORT_TEMPORARY
from realstack._core.secret import mask_url
from realstack.config import DEFAULT, NAMED_SERVICES, Config, read_environment, render
from realstack.errors import SpawnFailed
from realstack.runner.services import configured_services, start_services

if TYPE_CHECKING:
    from realstack.runtime.service import ServiceRow
    from realstack.runtime.stack import Stack

_DISTRIBUTIONS = ("realstack", "pytest", "pytest-xdist", "asyncpg", "redis", "clickhouse-connect", "uvicorn", "httpx")
_GIGABYTE = 1 << 30
_MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What one provider has of one service, or why it has nothing."""

    provider: str
    available: bool
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One thing about the machine, and whether it is as the kit likes it."""

    name: str
    good: bool
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What came of starting one service."""

    service: str
    #: The project speaks of it, so that going without it is a failure.
    required: bool
    works: bool
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Everything there is to say about a project on this machine."""

    versions: dict[str, str]
    #: Key, value, source.
    settings: list[tuple[str, str, str]]
    offers: dict[str, list[Offer]]
    trials: list[Trial]
    facts: list[Fact]

    def to_plain(self) -> dict[str, Any]:
        """Return it as values JSON knows."""
        return dataclasses.asdict(self)


def look_around(config: Config, *, start: bool) -> Findings:
    """Return what there is to say about the project of *config*; with *start*, start each of its services once."""
    from realstack.runtime.stack import Stack

    environ = read_environment()
    offers = {service: offers_of(service, config, environ=environ) for service in NAMED_SERVICES}
    trials: list[Trial] = []
    if not start:
        facts = machine_facts(config, None)
    else:
        stack = Stack.open(config)
        try:
            trials = _try(stack, config)
            facts = machine_facts(config, stack)
        finally:
            stack.close()
    return Findings(versions=versions(), settings=render(config), offers=offers, trials=trials, facts=facts)


def _try(stack: "Stack", config: Config) -> list[Trial]:
    came = start_services(stack, configured_services(config))
    works = [
        Trial(service=wanted.label, required=wanted.required, works=True, text=_ready(row)) for wanted, row in came.rows
    ]
    fails = [
        Trial(service=wanted.label, required=wanted.required, works=False, text=str(error))
        for wanted, error in came.missing
    ]
    return [*works, *fails]


def _ready(row: "ServiceRow") -> str:
    text = f"{row.version} from {row.provider}, ready in {row.started_in_s * 1000:.0f} ms"
    return f"{text}; {row.note}" if row.note else text


def offers_of(service: str, config: Config, *, environ: Mapping[str, str]) -> list[Offer]:
    """Return one line per provider the project allows for *service*, in the order they are tried."""
    from realstack.providers.choice import LOCAL_PROVIDERS, list_installations

    settings = getattr(config, service)[DEFAULT]
    installations, left_out = list_installations(service, cache=config.cache_folder, path=environ.get("PATH", ""))
    found: list[Offer] = []
    for provider in settings.providers:
        if provider == "url":
            found.append(_url_offer(settings.url, config.source(f"{service}.url"), hint=settings.url_is_hint))
        elif provider in LOCAL_PROVIDERS:
            have = [f"{each.version} ({each.origin})" for each in installations if each.provider == provider]
            reasons = [reason for name, reason in left_out if name == provider]
            found.append(Offer(provider=provider, available=bool(have), text="; ".join(have or reasons) or "nothing"))
        elif provider == "container":
            found.append(_container_offer(environ))
    return found


def _url_offer(url: str | None, source: str, *, hint: bool) -> Offer:
    if url is None:
        return Offer(provider="url", available=False, text="no URL is set")
    kind = ", a hint: passed over if it cannot be used" if hint else ""
    return Offer(provider="url", available=True, text=f"{mask_url(url)} (from {source}{kind})")


def _container_offer(environ: Mapping[str, str]) -> Offer:
    from realstack.providers.engine import find_engine

    engine, reason = find_engine(environ)
    return Offer(provider="container", available=engine is not None, text=reason or str(engine))


def machine_facts(config: Config, stack: "Stack | None") -> list[Fact]:
    """Return what the machine allows and what lies around on it."""
    facts = [_memory(), _cache(config), _left_over()]
    return [_user_namespaces(stack), *facts] if stack else facts


def versions() -> dict[str, str]:
    """Return the versions that matter when something is reported: system, Python, packages."""
    from importlib.metadata import PackageNotFoundError, version

    found = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": sys.version.split()[0],
    }
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _memory() -> Fact:
    name = f"memory for data ({SHARED_MEMORY})"
    try:
        room = os.statvfs(SHARED_MEMORY)
    except OSError as error:
        return Fact(name=name, good=False, text=f"{error.strerror}; data goes to disk, which is slower")
    free, whole = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    text = f"{free / _GIGABYTE:.1f} of {whole / _GIGABYTE:.1f} GB free"
    enough = free > 512 * _MEGABYTE
    return Fact(name=name, good=enough, text=text if enough else f"{text}; what does not fit goes to disk")


def _user_namespaces(stack: "Stack") -> Fact:
    """Try one for real: settings that may forbid them are many."""
    name = "user namespaces"
    if os.geteuid() != 0:
        return Fact(name=name, good=True, text="not needed: this is not root")
    try:
        stack.run.supervision.spawn(
            [sys.executable, "-I", "-S", "-c", ""], name="probe", log=stack.run_folder / "probe.log", userns=True
        )
    except SpawnFailed as error:
        return Fact(name=name, good=False, text=f"refused ({error.reason}); PostgreSQL runs as another user instead")
    return Fact(name=name, good=True, text="allowed: PostgreSQL can run although this is root")


def _cache(config: Config) -> Fact:
    folder = config.cache_folder
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    writable = os.access(next(each for each in (folder, *folder.parents) if each.exists()), os.W_OK)
    text = f"{folder}, {size / _MEGABYTE:.0f} MB"
    return Fact(name="cache", good=writable, text=text if writable else f"{text}, cannot be written")


def _left_over() -> Fact:
    """Count the folders of runs nobody holds any more; the next run deletes them."""
    base = SHORT_TEMPORARY / f"realstack-{os.geteuid()}"
    runs = [run for run in base.iterdir() if (run / "alive").exists()] if base.is_dir() else []
    dead = [run for run in runs if not _is_held(run / "alive")]
    text = f"{len(dead)} folder(s) of runs that ended with the machine, deleted by the next run" if dead else "nothing"
    return Fact(name="left over", good=not dead, text=f"{text}; {len(runs) - len(dead)} run(s) going on now")


def _is_held(lock: Path) -> bool:
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # it goes away right now
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
