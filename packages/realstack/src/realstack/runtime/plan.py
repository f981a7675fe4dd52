"""What a PostgreSQL server of a run is to hold: a template for each of its instances, named by what made it."""

import dataclasses
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

from realstack._core.digest import digest_of, digest_of_files
from realstack.config import DEFAULT, Config, PostgresConfig
from realstack.isolation.postgres import tracking
from realstack.isolation.postgres.template import template_name
from realstack.runtime.callables import SetupCallable


@cache
def _tracking() -> str:
    """What the kit itself puts into a template; another version of the kit makes another template."""
    home = Path(tracking.__file__)
    return digest_of_files([home, *sorted(home.with_name("sql").iterdir())])


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatabasePlan:
    """One database of the tests: what it is called and everything that decides what is in its template."""

    instance: str
    config: PostgresConfig
    root: Path

    @property
    def database(self) -> str:
        """What the first process's database is called."""
        return self.config.database

    def database_of(self, slot: int) -> str:
        """What the database of the process with *slot* is called."""
        return self.database if slot == 0 else f"{self.database}_gw{slot}"

    @cached_property
    def template(self) -> str:
        """The name of the template, which changes with anything that would change its content."""
        return template_name(tuple(self._made_of()))

    @property
    def setup(self) -> SetupCallable | None:
        """The user's callable that brings a database to its schema."""
        config = self.config
        if config.setup is None:
            return None
        return SetupCallable(target=config.setup, root=self.root, depends=config.depends)

    def _made_of(self) -> Iterator[str]:
        yield _tracking()
        yield from self.config.extensions
        files = [*self.config.schema, *(self.setup.files() if self.setup else ()), *self.config.seed]
        for path in files:
            yield str(path)
            yield digest_of([path.read_bytes()], length=64)
        yield self.config.setup or ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerPlan:
    """One server: whose configuration starts it, and the databases it is to hold."""

    label: str
    config: PostgresConfig
    databases: tuple[DatabasePlan, ...]

    @property
    def digest(self) -> str:
        """Changes with what any of its templates is made of."""
        return digest_of(f"{plan.database}={plan.template}" for plan in self.databases)

    @property
    def extensions(self) -> tuple[str, ...]:
        """Every extension any of its databases asks for."""
        return tuple(dict.fromkeys(name for plan in self.databases for name in plan.config.extensions))


def plan_server(config: Config, *, instance: str, version: str | None) -> ServerPlan:
    """Return the server that *instance* lives on, with all instances that share it."""
    owner = DEFAULT if config.postgres[instance].server == "shared" else instance
    server = config.postgres[owner]
    if version is not None:
        server = dataclasses.replace(server, version=version)
    sharing = [
        name
        for name, each in config.postgres.items()
        if name == owner or (owner == DEFAULT and each.server == "shared")
    ]
    label = "-".join(["postgres", *([] if owner == DEFAULT else [owner]), *([version] if version else [])])
    databases = tuple(
        DatabasePlan(instance=name, config=config.postgres[name], root=config.root) for name in sorted(sharing)
    )
    return ServerPlan(label=label, config=server, databases=databases)
