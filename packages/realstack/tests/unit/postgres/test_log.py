import pytest

from realstack.services.postgres.log import mask_secrets, tail

LINES = """\
2026-11-20 10:00:02.973 UTC [10] db= session=a.1 app= LOG:  starting PostgreSQL 18.4
2026-11-20 10:00:03.001 UTC [11] db=test session=a.2 app=[unknown] ERROR:  relation "orders" does not exist
2026-11-20 10:00:03.001 UTC [11] db=test session=a.2 app=[unknown] STATEMENT:  select *
\tfrom orders
2026-11-20 10:00:04.000 UTC [12] db=test_gw1 session=a.3 app=x y ERROR:  division by zero
2026-11-20 10:00:05.000 UTC [10] db= session=a.1 app= LOG:  server process (PID 12) was terminated by signal 9: Killed
2026-11-20 10:00:06.000 UTC [10] db= session=a.1 app= LOG:  database system is ready to accept connections
"""


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "postgres.log"
    file.write_text(LINES)
    return file


def test_the_log_of_one_database_has_its_messages_whole_and_the_servers_own_trouble(log):
    shown = tail(log, database="test")

    assert 'relation "orders"' in shown
    assert "from orders" in shown
    assert "terminated by signal 9" in shown
    assert "division by zero" not in shown
    assert "ready to accept" not in shown


def test_only_as_many_lines_are_shown_as_asked_for(log):
    assert tail(log, lines=2).count("\n") == 1
    assert "ready to accept" in tail(log, lines=1)


def test_what_was_there_before_is_not_shown(log):
    before = log.stat().st_size
    with log.open("a") as file:
        file.write("FATAL: new\n")

    assert tail(log, since_bytes=before) == "  FATAL: new"


def test_a_missing_or_empty_log_is_said_to_be_so(tmp_path):
    (tmp_path / "empty").touch()

    assert "no log" in tail(tmp_path / "none")
    assert "empty" in tail(tmp_path / "empty")


@pytest.mark.parametrize(
    "line",
    [
        "STATEMENT:  create role app login password 'sesame'",
        "STATEMENT:  ALTER ROLE app PASSWORD  'sesame''s own'",
        "STATEMENT:  alter role app password E'sesame\\'s own'",
        "connection to postgresql://app:sesame@db.example/prod failed",
        "STATEMENT:  create subscription s connection 'host=x password=sesame dbname=y' publication p",
    ],
)
def test_a_password_in_the_log_is_not_shown(line):
    masked = mask_secrets(line)

    assert "sesame" not in masked
    assert "own" not in masked
    assert "***" in masked


def test_a_line_without_a_secret_is_shown_as_it_is():
    line = "ERROR:  column users.password_hash does not exist in 'public'"

    assert mask_secrets(line) == line
