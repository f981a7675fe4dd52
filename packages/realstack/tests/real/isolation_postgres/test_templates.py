"""Templates: made once by many processes, flagged when finished, broken files named by line."""

import re
import threading
from pathlib import Path

import pytest

from realstack.errors import ExtensionMissing, SchemaFileFailed, TemplateBusy, TemplateMissing
from realstack.isolation.postgres.template import (
    build_template,
    clone_database,
    create_extensions,
    drop_database,
    run_files,
    template_name,
)
from realstack.services.postgres.wire import Connection

DUMP = """\
--
-- PostgreSQL database dump
--
\\restrict abc
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE FUNCTION public.f() RETURNS int LANGUAGE plpgsql AS $_$ BEGIN RETURN 1; /* ; */ END; $_$;
CREATE TABLE public.users (id integer NOT NULL, name text, raw bytea);
COPY public.users (id, name, raw) FROM stdin;
1\tone; two\t\\\\x00ff
2\t\\N\t\\N
3\ttab\\there\t\\\\x
\\.


COPY public.users (id) FROM stdin;
\\.
ALTER TABLE ONLY public.users ADD CONSTRAINT users_pkey PRIMARY KEY (id);
\\unrestrict abc
"""


@pytest.fixture
def scratch(each_lab):
    """An empty database."""
    drop_database(each_lab.admin, "scratch")
    each_lab.ask("CREATE DATABASE scratch")
    yield each_lab.admin.with_database("scratch")
    drop_database(each_lab.admin, "scratch")


@pytest.fixture
def made(lab):
    """Names of templates to drop afterwards."""
    names: list[str] = []
    yield names
    for name in names:
        drop_database(lab.admin, name)


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def rows(endpoint, sql: str) -> list[tuple[str | None, ...]]:
    with Connection(endpoint) as connection:
        return connection.query(sql)


def test_the_name_changes_with_every_part():
    names = {template_name(parts) for parts in (["a"], ["b"], ["a", "b"], ["ab"], [b"a", "c"])}

    assert len(names) == 5
    assert all(name.startswith("realstack_template_") and len(name) < 64 for name in names)


def test_many_at_once_make_it_once(lab, made):
    made.append("realstack_template_once")
    calls: list[str] = []
    results: list[bool] = []

    def step(endpoint):
        calls.append(endpoint.database)
        rows(endpoint, "CREATE TABLE t (id int)")

    threads = [
        threading.Thread(target=lambda: results.append(build_template(lab.admin, "realstack_template_once", [step])))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert calls == ["realstack_template_once"]
    assert sorted(results) == [False] * 5 + [True]


def test_a_half_made_template_is_made_anew(lab, made):
    name = "realstack_template_half"
    made.append(name)
    lab.ask(f"CREATE DATABASE {name}")
    rows(lab.admin.with_database(name), "CREATE TABLE left_over (id int)")
    with pytest.raises(TemplateMissing):
        clone_database(lab.admin, name, name="scratch_clone")

    assert build_template(lab.admin, name, [lambda endpoint: rows(endpoint, "CREATE TABLE t (id int)") and None])
    clone = clone_database(lab.admin, name, name="scratch_clone")
    tables = rows(clone, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    drop_database(lab.admin, "scratch_clone")

    assert tables == [("t",)]


def test_a_step_that_fails_leaves_no_template(lab):
    def broken(endpoint):
        raise RuntimeError("the callable's own error")

    with pytest.raises(RuntimeError, match="own error"):
        build_template(lab.admin, "realstack_template_broken", [broken])

    assert lab.ask("SELECT FROM pg_database WHERE datname = 'realstack_template_broken'") == []


def test_connections_a_step_leaves_open_are_ended(lab, made):
    made.append("realstack_template_open")
    left: list[Connection] = []

    assert build_template(lab.admin, "realstack_template_open", [lambda endpoint: left.append(Connection(endpoint))])
    left[0].close()


def test_settings_and_grants_of_the_template_are_the_clones_too(lab, made):
    name = "realstack_template_settings"
    made.append(name)
    lab.ask("CREATE ROLE granted")
    build_template(
        lab.admin,
        name,
        [
            lambda endpoint: rows(endpoint, f"ALTER DATABASE {name} SET work_mem = '123kB'") and None,
            lambda endpoint: rows(endpoint, f"GRANT CREATE ON DATABASE {name} TO granted") and None,
            lambda endpoint: rows(endpoint, f"ALTER DATABASE {name} SET search_path = 'public', 'o''dd'") and None,
        ],
    )
    clone = clone_database(lab.admin, name, name="scratch_clone")
    found = rows(
        clone, "SELECT current_setting('work_mem'), has_database_privilege('granted', current_database(), 'CREATE')"
    )
    path = rows(clone, "SHOW search_path")
    drop_database(lab.admin, "scratch_clone")
    drop_database(lab.admin, name)
    lab.ask("DROP ROLE granted")

    assert found == [("123kB", "t")]
    assert path == [('public, "o\'dd"',)]


def test_a_busy_source_is_told_with_the_number_of_sessions(lab):
    lab.ask("CREATE DATABASE scratch_busy IS_TEMPLATE true ALLOW_CONNECTIONS true")
    holder = Connection(lab.admin.with_database("scratch_busy"))
    lab.ask("ALTER DATABASE scratch_busy ALLOW_CONNECTIONS false")

    with pytest.raises(TemplateBusy) as busy:
        clone_database(lab.admin, "scratch_busy", name="scratch_clone", timeout_s=0.1)
    holder.close()
    drop_database(lab.admin, "scratch_busy")

    assert busy.value.sessions == 1


def test_a_dump_is_loaded_as_psql_would(scratch, tmp_path):
    run_files(scratch, [written(tmp_path, "dump.sql", DUMP)])

    assert rows(scratch, "SELECT * FROM users ORDER BY id") == [
        ("1", "one; two", "\\x00ff"),
        ("2", None, None),
        ("3", "tab\there", "\\x"),
    ]
    assert rows(scratch, "SELECT f()") == [("1",)]


def test_a_whole_database_survives_dump_and_load(each_world, scratch, tmp_path):
    text = each_world.lab.run_tool("pg_dump", "--exclude-schema=realstack", "--no-owner", each_world.name)
    kits = re.compile(r"realstack\.|TRIGGER realstack")
    text = "\n".join(line for line in text.splitlines() if not kits.search(line))
    run_files(scratch, [written(tmp_path, "zoo.sql", text)])

    for table in ("seeded", "composite", "floats", "measured", '"Odd Schema""s"."Weird ""Table"', "big", "keyless"):
        ask = f"SELECT count(*), sum(hashtext((t.*)::text)) FROM {table} t"
        assert rows(scratch, ask) == each_world.lab.ask(ask, database=each_world.name)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("CREATE TABLE a (id int);\n\nCREATE TABLE b (\n  id int,\n  x nosuchtype\n);\n", 5, "nosuchtype"),
        ("-- a comment; with a semicolon\nSELECT 1;\n/* more;\n */ SELEC 2;", 4, "SELEC"),
        ("SELECT 'a\n;b';\nSELECT $x$ ; $x$;\nSELECT 1/0;", 4, "division by zero"),
        ("SELECT 1;\n\\i other.sql\n", 2, "\\i"),
        ("\\connect other\n", 1, "\\connect"),
        ("CREATE TABLE a (id int);\nCOPY a FROM stdin;\n1\nx\n\\.\n", 2, "invalid input syntax"),
        ("BEGIN;\nCREATE TABLE a (id int);\n", 3, "COMMIT is missing"),
        ("SELECT 1;\nSELECT 'open\n", 2, "unterminated"),
    ],
)
def test_a_broken_file_is_named_with_its_line(scratch, tmp_path, text, line, message):
    file = written(tmp_path, "schema.sql", text)

    with pytest.raises(SchemaFileFailed) as failed:
        run_files(scratch, [file])

    assert (failed.value.path, failed.value.line) == (str(file), line)
    assert message in failed.value.message


def test_each_statement_is_a_transaction_of_its_own(scratch, tmp_path):
    run_files(
        scratch,
        [
            written(
                tmp_path,
                "s.sql",
                "CREATE TABLE a (id int); VACUUM a; CREATE INDEX CONCURRENTLY i ON a (id);\n"
                "CREATE FUNCTION g() RETURNS int LANGUAGE sql\n"
                "BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;\n"
                "CREATE RULE r AS ON INSERT TO a DO ALSO (SELECT 1; SELECT 2);\n"
                "DO $$ BEGIN INSERT INTO a VALUES (1); COMMIT; END $$;",
            )
        ],
    )

    assert rows(scratch, "SELECT count(*), g() FROM a") == [("1", "2")]


def test_seed_files_fill_the_table_they_are_named_after(scratch, tmp_path):
    run_files(
        scratch,
        [
            written(
                tmp_path,
                "s.sql",
                "CREATE SCHEMA other; CREATE TABLE other.users (id serial PRIMARY KEY, name text, tags jsonb,"
                " at int DEFAULT 7); CREATE TABLE plain (a text, b int GENERATED ALWAYS AS IDENTITY)",
            ),
            written(tmp_path, "10_other.users.csv", 'id,name\n5,"x, ""y"""\n6,\n'),
            written(tmp_path, "20_other.users.json", '[{"id": 9, "tags": {"k": [1]}}, {"id": 10, "at": null}]'),
            written(tmp_path, "plain.json", '[{"a": "x"}, {"a": "y"}]'),
        ],
    )

    assert rows(scratch, "SELECT * FROM other.users ORDER BY id") == [
        ("5", 'x, "y"', None, "7"),
        ("6", None, None, "7"),
        ("9", None, '{"k": [1]}', "7"),
        ("10", None, None, None),
    ]
    assert rows(scratch, "INSERT INTO other.users DEFAULT VALUES RETURNING id") == [("11",)]
    assert rows(scratch, "SELECT a, b FROM plain") == [("x", "1"), ("y", "2")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nowhere.csv", "a\n1\n", "no table 'nowhere'"),
        ("t.csv", "", "name the columns"),
        ("t.csv", "a\nx\n", "invalid input syntax"),
        ("t.json", '[{"a": 1},]', "Expecting value"),
        ("t.json", '{"a": 1}', "a list of objects"),
        ("t.json", '[{"b": 1}]', "does not exist"),
    ],
)
def test_a_seed_file_that_does_not_fit_is_named(scratch, tmp_path, name, text, message):
    with Connection(scratch) as connection:
        connection.script("CREATE TABLE t (a int)")

    with pytest.raises(SchemaFileFailed) as failed:
        run_files(scratch, [written(tmp_path, name, text)])

    assert message in str(failed.value)


def test_a_file_that_is_not_utf8_is_named(scratch, tmp_path):
    file = tmp_path / "latin.sql"
    file.write_bytes("SELECT 1;\nSELECT 'é'".encode("latin-1"))

    with pytest.raises(SchemaFileFailed) as failed:
        run_files(scratch, [file])

    assert failed.value.line == 2


def test_an_extension_the_server_lacks_says_who_has_it(scratch, tmp_path):
    for load in (
        lambda: create_extensions(scratch, ["no_such_extension"]),
        lambda: run_files(scratch, [written(tmp_path, "e.sql", 'CREATE EXTENSION IF NOT EXISTS "no_such_extension";')]),
    ):
        with pytest.raises(ExtensionMissing) as missing:
            load()
        assert missing.value.extension == "no_such_extension"
        assert "npm" in str(missing.value)


def test_an_extension_the_server_has_is_created(scratch):
    create_extensions(scratch, ["plpgsql"])
