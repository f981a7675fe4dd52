"""Writes the reference pages that the code itself can tell; ``python -m tests.docs.reference`` rewrites them."""

import dataclasses
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from realstack import errors
from realstack.config import SERVICES, Config
from realstack.errors import RealstackError

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
_HEAD = "<!-- written by `python -m tests.docs.reference`; change the code, not this page -->\n\n"
_COMMANDS = ("run", "up", "down", "status", "doctor", "install")


def configuration() -> str:
    """Every setting with its default and its meaning, read off the configuration classes."""
    parts = [
        "# Configuration\n",
        "`[tool.realstack]` in `pyproject.toml`, then `.env.test`, then the environment, then the command line; the "
        "later wins. A key is written `postgres.version`; in the environment it is `REALSTACK_POSTGRES_VERSION`. "
        "Unknown keys are errors. `realstack doctor` shows each value with its source.\n",
        *_settings("tool.realstack", Config, skip={"root", "sources", *SERVICES}),
    ]
    for service, owner in SERVICES.items():
        parts += _settings(f"tool.realstack.{service}", owner, skip=set())
    return "\n".join(parts)


def error_tree() -> str:
    """Every error the kit raises, with its text and remedy."""
    parts = [
        "# Errors\n",
        "All derive from `realstack.errors.RealstackError`, carry their facts as fields, and can be pickled. In the "
        "texts below `{self.x}` stands for the field `x`.\n",
    ]
    for kind in sorted(_tree(RealstackError), key=lambda kind: kind.__name__):
        parts.append(f"## {kind.__name__}\n\n{inspect.getdoc(kind)}\n")
        fields = ", ".join(f"`{name}`" for name in kind.field_names())
        hint = kind.hint if isinstance(kind.hint, str) and kind.hint else ""
        parts.append(
            f"- Text: {_inline(kind.problem)}"
            + (f"\n- Try: {_inline(hint)}" if hint else "")
            + f"\n- Fields: {fields}\n"
        )
    return "\n".join(parts)


def command_line() -> str:
    """The help of every command."""
    parts = ["# The command line\n", _help([])]
    parts += [f"## realstack {command}\n\n{_help([command])}" for command in _COMMANDS]
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "errors.md": error_tree,
    "command-line.md": command_line,
}


def text_of(page: str) -> str:
    """Return what *page* should hold."""
    return _HEAD + PAGES[page]().rstrip() + "\n"


def _settings(title: str, owner: type, *, skip: set[str]) -> Iterator[str]:
    comments = _field_comments(owner)
    yield f"## [{title}]\n"
    yield "| key | default | meaning |\n| --- | --- | --- |"
    for field in dataclasses.fields(owner):
        if field.name not in skip and "parse" in field.metadata:
            yield f"| `{field.name}` | {_default(field)} | {comments.get(field.name, '')} |"
    yield ""


def _default(field: "dataclasses.Field[object]") -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = "~/.cache/realstack" if field.name == "cache_folder" else field.default_factory()
    else:
        return "required"
    if value in (None, (), {}):
        return "none"
    text = (
        ", ".join(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else str(value)
    )
    return f"`{text}`"


def _field_comments(owner: type) -> dict[str, str]:
    """The ``#:`` comments above the fields of *owner*."""
    found: dict[str, str] = {}
    pending: list[str] = []
    for line in inspect.getsource(owner).splitlines():
        stripped = line.strip()
        if stripped.startswith("#:"):
            pending.append(stripped[2:].strip())
        elif name := re.match(r"(\w+):", stripped):
            found[name[1]] = " ".join(pending).replace("``", "`").replace("|", "\\|")
            pending = []
    return found


def _tree(root: type[RealstackError]) -> Iterator[type[RealstackError]]:
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind
        yield from _tree(kind)


def _inline(text: str) -> str:
    first, *rest = text.split("\n")
    return f"`{first.replace('`', chr(39))}`" + (" and more lines" if any(rest) else "")


def _help(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "realstack.cli", *arguments, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "110", "NO_COLOR": "1"},
    )
    return f"```text\n{done.stdout.rstrip()}\n```\n"


def main() -> None:
    """Rewrite the pages."""
    for page in PAGES:
        (FOLDER / page).write_text(text_of(page), encoding="utf-8")


if __name__ == "__main__":
    main()
