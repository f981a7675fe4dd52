"""What the compat fixtures ask of the kit's pytest plugin, through its fixture ``_realstack``."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pytest

    from realstack.config import Config
    from realstack.runtime.service import WorkerService
    from realstack.runtime.stack import Stack


class PluginState(Protocol):
    """The part of the plugin's memory that is used here."""

    config: "Config"

    @property
    def stack(self) -> "Stack": ...

    def check_wanted(self) -> None:
        """Skip the test when real services are switched off."""

    def provide(self, service: str, *, instance: str = "default", version: str | None = None) -> "WorkerService":
        """Return a service, started, or skip the test."""


def option(config: "pytest.Config", name: str, default: Any = None) -> Any:
    """Return a setting by the originals' names: command line, then ini file; *default* where neither knows it."""
    value = config.getoption(name, None)
    if value:
        return value
    try:
        return config.getini(name) or default
    except (ValueError, KeyError):
        return default


def is_set(config: "pytest.Config", name: str, defaults: Collection[Any]) -> bool:
    """Tell whether somebody set *name* to anything but one of *defaults*: ours, the original's."""
    return option(config, name) not in (None, "", *defaults)


def called_from(depth: int = 3) -> tuple[str, ...]:
    """Return where a factory was called: the same in each process of a run, another for each fixture."""
    import sys

    frame = sys._getframe(2)
    places = []
    for _ in range(depth):
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        if frame.f_back is None:
            break
        frame = frame.f_back
    return tuple(places)


def async_fixture(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Return pytest-asyncio's decorator; without it one that gives a fixture which says that it is missing."""
    import pytest

    try:
        import pytest_asyncio
    except ImportError:

        def missing(_: Callable[..., Any]) -> Any:
            @pytest.fixture
            def fixture() -> None:
                raise ImportError(f"{name} needs pytest-asyncio: pip install pytest-asyncio")

            return fixture

        return missing
    return pytest_asyncio.fixture


def declare(parser: "pytest.Parser", *, prefix: str, settings: dict[str, tuple[Any, Any, str]]) -> None:
    """Declare the originals' ini settings and options; where the original is installed, it has done so already."""
    from contextlib import suppress

    for name, (kind, default, meaning) in settings.items():
        dest, flag = f"{prefix}_{name}", f"--{prefix}-{name.replace('_', '-')}"
        parser.addini(dest, meaning, type=kind, default=default)
        action: dict[str, Any] = {"action": "store"}
        if kind == "bool":
            action = {"action": "store_true"}
        elif kind == "pathlist":
            action = {"action": "append"}
        with suppress(ValueError):
            parser.addoption(flag, dest=dest, default=None, help=meaning, **action)
