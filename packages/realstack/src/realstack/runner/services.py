"""Which services a project wants, and starting them all at once."""

import dataclasses
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from realstack.config import DEFAULT, NAMED_SERVICES, SERVICES, Config
from realstack.errors import ConfigUnknown, RealstackError

if TYPE_CHECKING:
    from realstack.runtime.service import ServiceRow, WorkerService
    from realstack.runtime.stack import Stack


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WantedService:
    """One service to start, and whether going without it is a failure."""

    service: str
    instance: str = DEFAULT
    #: ``None`` is the configured one.
    version: str | None = None
    #: The project speaks of it, or it was asked for by name.
    required: bool = True

    @property
    def label(self) -> str:
        """The name a person writes: ``postgres``, ``postgres.analytics``."""
        name = self.service if self.instance == DEFAULT else f"{self.service}.{self.instance}"
        return f"{name}@{self.version}" if self.version else name


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StartedServices:
    """What came of starting services."""

    started: tuple[tuple[WantedService, "WorkerService"], ...]
    #: Wanted services that could not be had, each with the reason.
    missing: tuple[tuple[WantedService, RealstackError], ...]

    @property
    def first_failure(self) -> RealstackError | None:
        """The error of the first service that had to be there and is not."""
        return next((error for wanted, error in self.missing if wanted.required), None)

    @property
    def rows(self) -> list[tuple[WantedService, "ServiceRow"]]:
        """The facts of each service that runs."""
        return [(wanted, service.describe()) for wanted, service in self.started]


def configured_services(config: Config) -> list[WantedService]:
    """Return every service of the project: required are those the configuration speaks of."""
    told = {key.rpartition(".")[0] for key in config.sources if "." in key}
    hinted = {service for service in NAMED_SERVICES if getattr(config, service)[DEFAULT].url_is_hint}
    found = [
        WantedService(
            service=service,
            instance=instance,
            required=instance != DEFAULT or (service in told and service not in hinted),
        )
        for service in NAMED_SERVICES
        for instance in getattr(config, service)
    ]
    return [*found, WantedService(service="app")] if config.app else found


def named_services(config: Config, names: Iterable[str]) -> list[WantedService]:
    """Return the services that *names* ask for; without any, every one of the project.

    Raises:
        ConfigUnknown: no service or instance has one of the names.
    """
    every = configured_services(config)
    by_label = {wanted.label: wanted for wanted in (*every, WantedService(service="app"))}
    chosen = []
    for name in dict.fromkeys(names):
        if name not in by_label:
            import difflib

            near = difflib.get_close_matches(name, [*by_label, *SERVICES], n=1)
            raise ConfigUnknown(key=name, source="the services asked for", near=near[0] if near else "")
        chosen.append(dataclasses.replace(by_label[name], required=True))
    return chosen or every


def start_services(stack: "Stack", wanted: Iterable[WantedService]) -> StartedServices:
    """Start *wanted* at once; the app goes last, since it starts what stands behind it by itself.

    Raises:
        Exception: anything that is no error of the kit's own.
    """
    started: list[tuple[WantedService, WorkerService]] = []
    missing: list[tuple[WantedService, RealstackError]] = []
    wanted = list(wanted)
    with ThreadPoolExecutor(len(wanted) or 1, thread_name_prefix="realstack-start") as pool:
        pending = [
            (each, pool.submit(stack.service, each.service, instance=each.instance, version=each.version))
            for each in wanted
        ]
        for each, start in pending:
            try:
                started.append((each, start.result()))
            except RealstackError as error:
                missing.append((each, error))
    return StartedServices(started=tuple(started), missing=tuple(missing))
