"""The project folders that sessions run in: a schema, a suite, the options of the plugin under test."""

import dataclasses
from pathlib import Path

_SUITES = Path(__file__).parent / "suites"


def chain_schema(tables: int, *, rows: int = 0, nonce: str = "") -> str:
    """Return SQL for *tables* tables, each referring to the one before, with 3 indexes each.

    Args:
        tables: how many.
        rows: rows in each of the first three.
        nonce: any text that makes it another schema to a cache.
    """
    statements = [f"-- {nonce}"]
    for number in range(tables):
        parent = f", parent bigint REFERENCES t_{number - 1:03}" if number else ""
        statements.append(
            f"CREATE TABLE t_{number:03} (id bigserial PRIMARY KEY, name text NOT NULL UNIQUE, "
            f"made timestamptz NOT NULL DEFAULT now(){parent});\nCREATE INDEX ON t_{number:03} (made);"
        )
    if rows:
        statements += [
            f"INSERT INTO t_{number:03} (name) SELECT 'row ' || n FROM generate_series(1, {rows}) n;"
            for number in range(min(3, tables))
        ]
    return "\n".join(statements) + "\n"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """What one session runs.

    Attributes:
        name: of its folder.
        test: module of ``suites`` with the tests.
        conftest: module of ``suites`` with the fixtures; empty: none.
        plugins: loaded with ``-p``, nothing else is.
        realstack: the text of ``[tool.realstack...]``.
        ini: further lines of ``[tool.pytest.ini_options]``.
        schema: SQL of the file ``schema.sql``.
    """

    name: str
    test: str
    conftest: str = ""
    plugins: tuple[str, ...] = ()
    realstack: str = ""
    ini: str = ""
    schema: str = ""
    app: bool = False

    def write(self, base: Path) -> Path:
        """Write the project and return its folder."""
        folder = base / self.name
        folder.mkdir(parents=True, exist_ok=True)
        plugins = "".join(f'"-p", "{name}", ' for name in ("no:cacheprovider", "benchmarks.probe", *self.plugins))
        self._put(folder / "pyproject.toml", _PYPROJECT.format(plugins=plugins, ini=self.ini, realstack=self.realstack))
        self._put(folder / "schema.sql", self.schema)
        self._put(folder / f"{self.test}.py", (_SUITES / f"{self.test}.py").read_text())
        if self.conftest:
            self._put(folder / "conftest.py", (_SUITES / f"{self.conftest}.py").read_text())
        if self.app:
            self._put(folder / "bench_app.py", (_SUITES / "bench_app.py").read_text())
        return folder

    @staticmethod
    def _put(path: Path, text: str) -> None:
        # an unchanged file keeps its compiled bytecode
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


_PYPROJECT = """
[tool.pytest.ini_options]
addopts = [{plugins}]
{ini}
{realstack}
"""
