"""Which services a project wants, and which of them it cannot go without."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from realstack.config import Config, resolve
from realstack.errors import ConfigUnknown
from realstack.runner.services import configured_services, named_services


def config_of(folder: Path, text: str = "", environ: Mapping[str, str] | None = None) -> Config:
    (folder / "pyproject.toml").write_text(text)
    return resolve(folder, environ=environ or {}, command_line={})


def required(config: Config) -> set[str]:
    return {wanted.label for wanted in configured_services(config) if wanted.required}


def test_a_project_that_says_nothing_goes_without_what_is_not_there(tmp_path: Path) -> None:
    config = config_of(tmp_path)

    assert [wanted.label for wanted in configured_services(config)] == ["postgres", "redis", "clickhouse"]
    assert required(config) == set()


def test_what_a_project_speaks_of_has_to_be_there(tmp_path: Path) -> None:
    text = (
        '[tool.realstack.redis]\nversion = "7"\n[tool.realstack.postgres.analytics]\n'
        '[tool.realstack.app]\ntarget = "a:b"\n'
    )

    assert required(config_of(tmp_path, text)) == {"redis", "postgres.analytics", "app"}


def test_a_hint_makes_nothing_indispensable(tmp_path: Path) -> None:
    assert required(config_of(tmp_path, environ={"REDIS_URL": "redis://h"})) == set()
    assert required(config_of(tmp_path, environ={"TEST_REDIS_URL": "redis://h"})) == {"redis"}


def test_what_is_asked_for_by_name_has_to_be_there(tmp_path: Path) -> None:
    chosen = named_services(config_of(tmp_path, "[tool.realstack.postgres.old]\n"), ["postgres.old", "redis", "redis"])

    assert [(wanted.label, wanted.required) for wanted in chosen] == [("postgres.old", True), ("redis", True)]


def test_an_unknown_service_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigUnknown) as caught:
        named_services(config_of(tmp_path), ["clickhose"])

    assert caught.value.near == "clickhouse"
