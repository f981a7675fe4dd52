"""Settings from a mapping."""

import pytest
from pydantic import ValidationError

from agent_backend.errors import SettingInvalid, SettingUnknown
from agent_backend.settings import Settings, load_settings


def test_the_urls_are_read_with_and_without_our_prefix():
    both = {"DATABASE_URL": "postgresql://general/x", "AGENT_BACKEND_DATABASE_URL": "postgresql://ours/x"}

    assert load_settings({"DATABASE_URL": "postgres://h/db"}).database_url.get_secret_value() == "postgres://h/db"
    assert load_settings(both).database_url.get_secret_value() == "postgresql://ours/x"
    assert load_settings({"REDIS_URL": "redis://h/1"}).redis_url.get_secret_value() == "redis://h/1"


def test_only_the_given_mapping_is_read(monkeypatch):
    monkeypatch.setenv("AGENT_BACKEND_REDIS_MAX_CONNECTIONS", "77")

    assert load_settings({}).redis_max_connections == 10
    assert load_settings().redis_max_connections == 77


def test_secrets_are_masked_wherever_settings_are_shown():
    settings = load_settings({"DATABASE_URL": "postgresql://u:hunter2@h/db"})

    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValidationError) as refused:
        Settings(acquire_timeout_s="hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:hunter2@h/db"),
        ("DATABASE_URL", "redis://u:hunter2@h/0"),
        ("REDIS_URL", "postgresql://u:hunter2@h/0"),
        ("REDIS_URL", "hunter2"),
        ("AGENT_BACKEND_POSTGRES_MAX_CONNECTIONS", "0"),
        ("AGENT_BACKEND_COMMAND_TIMEOUT_S", "hunter2"),
        ("AGENT_BACKEND_MEMORY_NAMESPACE", "hunter2"),
    ],
)
def test_a_value_that_cannot_be_is_named_but_not_shown(name, value):
    with pytest.raises(SettingInvalid) as refused:
        load_settings({name: value})
    assert name.removeprefix("AGENT_BACKEND_") in refused.value.setting
    assert "hunter2" not in str(refused.value)


def test_an_unknown_variable_with_our_prefix_is_an_error_that_names_the_nearest():
    with pytest.raises(SettingUnknown, match="AGENT_BACKEND_REDIS_URL") as refused:
        load_settings({"AGENT_BACKEND_REDIS_ULR": "redis://h/0"})
    assert refused.value.setting == "AGENT_BACKEND_REDIS_ULR"


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        load_settings({}).redis_max_connections = 3
