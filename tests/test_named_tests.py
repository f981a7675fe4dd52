"""The tests that must exist by name: those written are where the list says; those that are not only get fewer."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Tests of each seed that are not written yet. Writing one makes this test fail until the number is lowered.
PENDING = {"000": 12, "001": 15, "003": 30, "004": 31}


def _listed() -> list[tuple[str, str, str, str]]:
    """Seed, file, class (may be empty) and name of each."""
    rows = (ROOT / "tests" / "named_tests.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [(seed, file, kind, name) for seed, file, kind, name in (row.split("\t") for row in rows)]


def _written() -> set[tuple[str, str, str]]:
    """File, class and name of every test in the packages."""
    return {
        (path.stem, kind, name)
        for path in ROOT.glob("packages/*/tests/**/test_*.py")
        for kind, name in _tests_in(ast.parse(path.read_text(encoding="utf-8")))
    }


def _tests_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield node.name, inner.name
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield "", node.name


def test_the_list_is_whole():
    assert len(_listed()) == 154


def test_named_tests_only_become_more():
    written = _written()

    missing = Counter(seed for seed, file, kind, name in _listed() if (file, kind, name) not in written)

    assert dict(missing) == PENDING
