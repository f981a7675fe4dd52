"""What to run, and the pytest arguments that say so."""

import dataclasses
import importlib.util
from pathlib import Path

from realstack.errors import ConfigInvalid, DriverMissing
from realstack.runner.categories import Category, expression_of

RECORDER = "realstack.runner.recorder"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """One run of a suite as it was asked for; every field is obeyed."""

    categories: tuple[Category, ...] = ()
    #: Only tests that need one of these services.
    services: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    #: ``pytest -k``.
    pattern: str | None = None
    #: ``pytest -m``, on top of the categories.
    markers: str | None = None
    #: Processes; ``None`` runs in one, without pytest-xdist; ``auto`` takes one per core.
    workers: str | None = None
    fast_fail: bool = False
    failed_first: bool = False
    coverage: bool = False
    min_coverage: float | None = None
    real_services: bool | None = None
    require_services: bool | None = None
    verbosity: int = 0
    #: Handed to pytest as they are.
    extra: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be obeyed before anything starts.

        Raises:
            ConfigInvalid: a package that an option stands for is missing, or a file.
            DriverMissing: pytest itself is.
        """
        for file in self.files:
            path = Path(str(file).partition("::")[0])
            if not path.exists():
                raise _refused("--test-file", str(file), "a file or folder that exists")
        if importlib.util.find_spec("pytest") is None:
            raise DriverMissing(package="pytest", extra="pytest")
        for option, on, module, package in (
            ("--parallel", self.workers, "xdist", "pytest-xdist"),
            ("--coverage", self.coverage or self.min_coverage is not None, "pytest_cov", "pytest-cov"),
        ):
            if on and importlib.util.find_spec(module) is None:
                raise _refused(option, "on", f"left out, or {package} must be installed: pip install {package}")

    def arguments(self, *, channel: Path) -> list[str]:
        """Return the arguments of ``python -m pytest``, with the recorder talking to *channel*."""
        given = ["-p", RECORDER, f"--realstack-channel={channel}"]
        if self.services:
            given.append(f"--realstack-only={','.join(self.services)}")
        if expression := expression_of(self.categories, self.markers):
            given += ["-m", expression]
        if self.pattern:
            given += ["-k", self.pattern]
        if self.workers:
            given += ["-n", self.workers]
        given += self._switches()
        return [*given, *self.extra, *map(str, self.files)]

    def _switches(self) -> list[str]:
        switches = [
            ("-x", self.fast_fail),
            ("--ff", self.failed_first),
            ("--cov", self.coverage or self.min_coverage is not None),
            (f"--cov-fail-under={self.min_coverage}", self.min_coverage is not None),
            ("--real-services", self.real_services is True),
            ("--no-real-services", self.real_services is False),
            ("--require-services", self.require_services),
            (f"-{'v' * self.verbosity}", self.verbosity > 0),
            (f"-{'q' * -self.verbosity}", self.verbosity < 0),
        ]
        return [switch for switch, on in switches if on]


def _refused(option: str, value: str, wanted: str) -> ConfigInvalid:
    return ConfigInvalid(key=option, value=repr(value), source="the command line", wanted=wanted)
