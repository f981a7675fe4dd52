"""Errors: ClickHouse's own codes, names and HTTP status; users and passwords."""

import base64
import dataclasses

import pytest

from realstack.errors import ServerStartFailed, ServerUnreachable
from realstack.services.clickhouse.client import Client
from realstack.services.clickhouse.server import attach, start_embedded


@dataclasses.dataclass(frozen=True)
class Case:
    sql: str
    code: int
    status: int
    name: str


CASES = [
    Case("SELECT * FROM nope", 60, 404, "UNKNOWN_TABLE"),
    Case("SELECT nope", 47, 404, "UNKNOWN_IDENTIFIER"),
    Case("SELEC 1", 62, 400, "SYNTAX_ERROR"),
    Case("garbage", 62, 400, "SYNTAX_ERROR"),
    Case("", 62, 400, "SYNTAX_ERROR"),
    Case("-- nothing\n;", 62, 400, "SYNTAX_ERROR"),
    Case("SELECT 1; SELECT 2", 62, 400, "SYNTAX_ERROR"),
    Case("CREATE TABLE m (a Int8) ENGINE = Memory; DROP TABLE m", 62, 400, "SYNTAX_ERROR"),
    Case("SELECT 1 FORMAT Nope", 73, 404, "UNKNOWN_FORMAT"),
    Case("SELECT nope()", 46, 404, "UNKNOWN_FUNCTION"),
    Case("SELECT toUInt8('x')", 6, 400, "CANNOT_PARSE_TEXT"),
    Case("SELECT throwIf(1)", 395, 500, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    Case("CREATE TABLE t (a Nope) ENGINE = Memory", 50, 404, "UNKNOWN_TYPE"),
    Case("CREATE DATABASE system", 82, 500, "DATABASE_ALREADY_EXISTS"),
    Case("CREATE ROLE r", 514, 500, "ACCESS_STORAGE_FOR_INSERTION_NOT_FOUND"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sql[:20] or "empty")
def test_an_error_has_the_code_the_name_and_the_status_of_a_server(ask, case):
    answer = ask(case.sql)

    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (case.status, str(case.code))
    assert answer.text.startswith(f"Code: {case.code}. DB::Exception: ")
    assert f"({case.name})" in answer.text
    assert "embedded ClickHouse" in answer.text
    assert answer.headers["X-ClickHouse-Query-Id"]
    assert "X-ClickHouse-Format" not in answer.headers


def test_a_connection_lives_on_after_an_error(ask):
    assert ask("SELECT nope").status == 404
    assert ask("SELECT 1").text == "1\n"


def test_an_unknown_database_or_setting_is_named(ask):
    assert ask("SELECT 1", database="nope").headers["X-ClickHouse-Exception-Code"] == "81"
    assert ask("SELECT 1", nope="1").headers["X-ClickHouse-Exception-Code"] == "115"
    assert ask("SELECT 1", nope="1", session_id="n").headers["X-ClickHouse-Exception-Code"] == "115"
    assert ask("SELECT 1", session_id="n").status == 200


def test_a_setting_cannot_smuggle_a_statement(ask):
    ask("SELECT 1", **{"max_threads = 1; DROP TABLE t --": "1"})
    answer = ask("SELECT getSetting('log_comment')", log_comment="', max_threads = '77")

    assert answer.text == "\\', max_threads = \\'77\n"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    "how",
    [
        {"headers": basic("default", "wrong")},
        {"headers": {"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": ""}},
        {"user": "default", "password": "wrong"},
        {"headers": {"Authorization": "Bearer token"}},
        {"headers": basic("default", "") | {"X-ClickHouse-User": "default"}},
        {"user": "default", "headers": basic("default", "")},
    ],
    ids=["basic", "header", "parameters", "bearer", "basic and header", "basic and parameters"],
)
def test_a_wrong_password_is_refused_however_it_comes(ask, how):
    answer = ask("SELECT 1", **how)

    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert "wrong" not in answer.text


@pytest.mark.parametrize(
    "how",
    [
        {"headers": basic("default", "")},
        {"headers": {"X-ClickHouse-User": "default"}},
        {"user": "default", "password": ""},
        {},
    ],
)
def test_the_default_user_needs_no_password(ask, how):
    assert ask("SELECT currentUser()", **how).text == "default\n"


def test_attach_names_the_place_and_masks_the_password(endpoint, client):
    refused = dataclasses.replace(endpoint, user="default", password="hunter2")
    with pytest.raises(ServerUnreachable) as caught:
        attach(refused)

    assert "AUTHENTICATION_FAILED" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert attach(endpoint).version == client.query("SELECT version()")[0][0]
    with pytest.raises(ServerUnreachable):
        attach(dataclasses.replace(endpoint, port=1))


def test_a_setting_the_engine_does_not_know_stops_the_start(installation, run, tmp_path):
    with pytest.raises(ServerStartFailed) as caught:
        start_embedded(
            installation,
            folder=tmp_path,
            supervisor=run,
            settings={"no_such_setting": "1"},
            timeout_s=20,
            scope="client",
        )

    assert "no_such_setting" in str(caught.value)


def test_settings_of_the_configuration_hold_in_every_session(installation, run, tmp_path):
    server = start_embedded(installation, folder=tmp_path, supervisor=run, settings={"max_threads": "3"}, timeout_s=20)
    client = Client(server.endpoint)

    assert client.query("SELECT getSetting('max_threads'), getSetting('implicit_select')") == [(3, False)]
    client.close()
    server.stop()
