"""The app under test as one test process uses it: its own process, this worker's own services behind it."""

from collections.abc import Callable
from typing import cast

from realstack._core.clock import SYSTEM_CLOCK
from realstack.abc import ResetOutcome, Server
from realstack.config import AppConfig, Placeholder, fill_template
from realstack.errors import ServiceUnavailable
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey, WorkerService
from realstack.services.app.server import AppServer, start_app

Lookup = Callable[..., WorkerService]


class AppService(WorkerService):
    """Starts the user's app with the addresses of this worker's services in its environment."""

    def __init__(self, key: ServiceKey, run: Run, service: Lookup) -> None:
        super().__init__(key)
        self._run = run
        self._service = service

    @property
    def app(self) -> AppServer:
        """The running app."""
        return cast(AppServer, self.server)

    def _start(self) -> tuple[Server, None]:
        config = self._configured()
        folder = config.app_folder or self._run.config.root
        own = self._run.new_folder(f"app-{id(self):x}")
        server = start_app(
            config.target,
            env=self._environment(config),
            folder=own,
            cwd=folder,
            supervisor=self._run.supervision,
            log=own / "app.log",
            timeout_s=config.start_timeout_s or self._run.config.start_timeout_s,
            health=config.health,
            factory=config.factory,
            on_reset=config.on_reset,
        )
        self._run.apps.append(lambda: server.pid)
        return server, None

    def begin(self, test: str) -> None:
        """Have a live app for *test*: one that exited during the last is started again."""
        del test
        if not self.app.is_alive():
            self.app.restart()

    def end(self) -> ResetOutcome | None:
        """Have the app drop what it keeps of the test, if it is set to."""
        self.app.ensure_alive()
        if self._configured().on_reset is None:
            return None
        began = SYSTEM_CLOCK.now_s()
        self.app.reset()
        outcome = ResetOutcome(strategy="on_reset", seconds=SYSTEM_CLOCK.now_s() - began)
        self.resets_s.append(outcome.seconds)
        return outcome

    def close(self) -> None:
        if self.is_started:
            self.app.stop()
        super().close()

    def _isolation_name(self) -> str:
        return "on_reset"

    def _configured(self) -> AppConfig:
        config = self._run.config.app
        if config is None:
            raise ServiceUnavailable(
                service="app",
                wanted="",
                tried=(("configuration", "no [tool.realstack.app] target is set"),),
                remedy='set target = "package.module:app" under [tool.realstack.app] in pyproject.toml',
            )
        return config

    def _environment(self, config: AppConfig) -> dict[str, str]:
        given = {name: fill_template(value, self._value) for name, value in config.env.items()}
        return {**self._run.environ, **given}

    def _value(self, placeholder: Placeholder) -> str:
        """Return what a placeholder stands for; starts the service it names."""
        endpoint = self._service(placeholder.service, instance=placeholder.instance).endpoint
        attribute = "url" if placeholder.attribute == "dsn" else placeholder.attribute
        return str(getattr(endpoint, attribute) or "")
