"""Runs a page: writes its files, then its commands in order, comparing what they print with what the page shows."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from realstack.config import read_environment

from .blocks import Block

ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 170
#: What differs from run to run, and what stands for it when output is compared.
_VARYING = (
    (re.compile(r"\b\d+(\.\d+)? ?(ms|µs|s)\b"), "<time>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"\b\d+\.\d+(\.\d+)*\b"), "<version>"),
    (re.compile(r"\((binary|wheel|npm)\)|\b(binary|wheel|npm)\b"), "<provider>"),
    (re.compile(r"kept-[0-9a-f]+"), "kept-<id>"),
    (re.compile(r"[=_-]{4,}"), "<line>"),
    (re.compile(r"\s*\[ *\d+%\]"), ""),
    (re.compile(r"\s+"), " "),
)


def run_page(blocks: list[Block], project: Path, *, cache: Path) -> None:
    """Do what *blocks* say in the empty folder *project*."""
    for block in blocks:
        if block.file_name:
            path = project / block.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
    commands = [command for block in blocks if block.kind in ("sh", "console") for command in _commands(block)]
    if not any("pytest" in command or "realstack run" in command for _, command, _ in commands):
        tests = [block.file_name for block in blocks if block.file_name and block.file_name.startswith("test_")]
        commands += [(blocks[0], f"python -m pytest -q {name}", []) for name in tests]
    for block, command, shown in commands:
        _run(block, command, shown, project, cache)


def _commands(block: Block) -> Iterator[tuple[Block, str, list[str]]]:
    """Each command of *block* with the lines the page shows after it."""
    if block.kind == "sh":
        for line in block.body.splitlines():
            if line.strip() and not line.startswith("#"):
                yield block, line, []
        return
    command, shown = "", list[str]()
    for line in block.body.splitlines():
        if line.startswith("$ "):
            if command:
                yield block, command, shown
            command, shown = line[2:], []
        else:
            shown.append(line)
    assert command, f"{block}: a console block begins with '$ ' and a command"
    yield block, command, shown


def _run(block: Block, command: str, shown: list[str], project: Path, cache: Path) -> None:
    if command.startswith("pip install"):
        _check_install(block, command)
        return
    if command.startswith("make "):
        done = subprocess.run(
            ["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}: {command}: {done.stderr}"
        return
    if command.startswith("git clone"):
        return  # the reader's way to this very repository
    fails = command.endswith("  # fails")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env=_environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert (done.returncode != 0) == fails, f"{block}: {command!r} ended with {done.returncode}:\n{done.stdout}"
    _compare(block, command, shown, done.stdout)


def _compare(block: Block, command: str, shown: list[str], printed: str) -> None:
    """Every line the page shows is printed, in that order; a line of dots stands for any."""
    rest = [_plain(line) for line in printed.splitlines()]
    for line in shown:
        wanted = _plain(line)
        if wanted in ("", "..."):
            continue
        assert wanted in rest, f"{block}: {command!r} did not print (any more)\n  {line}\nbut\n{printed}"
        rest = rest[rest.index(wanted) + 1 :]


def _plain(line: str) -> str:
    for pattern, stand_in in _VARYING:
        line = pattern.sub(stand_in, line)
    return line.strip()


def _check_install(block: Block, command: str) -> None:
    """The network is not ours to use in a test: what is named must at least exist."""
    declared = tomllib.loads((ROOT / "packages/realstack/pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extras in re.findall(r"realstack\[([\w,]+)\]", command):
        for extra in extras.split(","):
            assert extra in declared, f"{block}: there is no extra {extra!r}"


def _environment(cache: Path) -> dict[str, str]:
    environ = read_environment()
    given = {name: environ[name] for name in ("HOME", "LANG", "TERM", "TMPDIR", "USER") if name in environ}
    binaries = str(Path(sys.executable).parent)
    return {
        **given,
        "PATH": f"{binaries}:{environ.get('PATH', os.defpath)}",
        "XDG_CACHE_HOME": str(cache),
        "COLUMNS": "100",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of pytest plugins, about settings the pages need not show
    }
