"""The user's set-up callable: found without importing it, hashed, and run in a process of its own.

A process of its own, because migrations import half an application, configure logging and open event loops, none of
which may leak into the tests' process.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from realstack.errors import SetupFailed

_HASHED_SUFFIXES = frozenset({".py", ".sql", ".mako", ".ini", ".toml"})
_CALL = """
import asyncio, importlib, inspect, sys
module, _, path = sys.argv[1].partition(":")
target = importlib.import_module(module)
for name in path.split("."):
    target = getattr(target, name)
result = target(sys.argv[2])
if inspect.isawaitable(result):
    async def wait():
        await result
    asyncio.run(wait())
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SetupCallable:
    """``package.module:function`` that is given a URL and brings a database to its schema."""

    target: str
    root: Path
    #: Files that decide what it does; empty: every source file beside its module.
    depends: tuple[Path, ...] = ()

    def files(self) -> tuple[Path, ...]:
        """Return the files whose contents decide what the callable does, sorted.

        Raises:
            SetupFailed: there is no such module.
        """
        module = self._module_file()
        if self.depends:
            return (module, *sorted(self.depends))
        return tuple(sorted(_sources_beside(module)))

    def run(self, url: str, *, environ: Mapping[str, str], timeout_s: float) -> None:
        """Call it with *url*, in a process of its own whose working folder is the project's root.

        Raises:
            SetupFailed: it raised, exited or took longer than *timeout_s*; carries its own traceback.
        """
        command = [sys.executable, "-c", _CALL, self.target, url]
        path = (str(self.root), str(self.root / "src"), environ.get("PYTHONPATH", ""))
        env = {**environ, "DATABASE_URL": url, "PYTHONPATH": ":".join(part for part in path if part)}
        try:
            done = subprocess.run(
                command, cwd=self.root, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            output = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
            raise SetupFailed(target=self.target, reason=f"not done after {timeout_s:g} s", output=output) from error
        if done.returncode:
            reason = f"exit code {done.returncode}"
            raise SetupFailed(target=self.target, reason=reason, output=_without_url(done.stderr or done.stdout, url))

    def _module_file(self) -> Path:
        name, colon, attribute = self.target.partition(":")
        if not colon or not attribute:
            raise SetupFailed(target=self.target, reason="it is not written as package.module:callable", output="")
        relative = Path(*name.split("."))
        for base in _search_path(self.root):
            for candidate in (base / relative.with_suffix(".py"), base / relative / "__init__.py"):
                if candidate.is_file():
                    return candidate
        raise SetupFailed(target=self.target, reason=f"no module {name!r} in {self.root} or on sys.path", output="")


def _search_path(root: Path) -> Sequence[Path]:
    return [root, root / "src", *(Path(entry) for entry in sys.path if entry)]


def _sources_beside(module: Path) -> Iterator[Path]:
    if module.name != "__init__.py":
        yield module
        return
    for path in module.parent.rglob("*"):
        if path.suffix in _HASHED_SUFFIXES and path.is_file():
            yield path


def _without_url(text: str, url: str) -> str:
    from realstack._core.secret import mask_url

    return text.replace(url, mask_url(url)).rstrip()
