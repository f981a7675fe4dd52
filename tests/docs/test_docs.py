"""Every code block in README and docs is run; a block of a kind nobody runs is an error."""

import re
from pathlib import Path

import pytest

from .blocks import COMMAND_KINDS, FILE_KINDS, TEXT_KINDS, blocks_of
from .reference import PAGES as REFERENCE
from .reference import text_of
from .running import ROOT, run_page

PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md"))
    if blocks_of(path)
)


@pytest.fixture(scope="session")
def docs_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all pages of this process, so that a cluster is made once."""
    return tmp_path_factory.mktemp("cache")


def test_there_are_pages_with_code():
    assert Path("README.md") in PAGES


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_block_is_of_a_kind_that_is_run(page: Path):
    for block in blocks_of(ROOT / page):
        assert block.kind in FILE_KINDS | COMMAND_KINDS | TEXT_KINDS, f"{block}: unknown kind"
        if block.kind in FILE_KINDS:
            assert block.file_name, f"{block}: the first line must name the file, as a comment"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_the_page_shows_works(page: Path, tmp_path: Path, docs_cache: Path):
    run_page(blocks_of(ROOT / page), tmp_path, cache=docs_cache)


@pytest.mark.parametrize(
    "page", sorted(path.relative_to(ROOT) for path in ROOT.glob("**/*.md") if ".venv" not in path.parts), ids=str
)
def test_links_between_pages_lead_somewhere(page: Path):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}, which does not exist"


@pytest.mark.parametrize("page", REFERENCE)
def test_a_reference_page_says_what_the_code_says(page: str):
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")

    assert written == text_of(page), "the code has moved on; run: make docs"
