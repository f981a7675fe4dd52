from pathlib import Path

import pytest

from realstack.providers.binary import find_binaries

DEBIAN = Path("/usr/lib/postgresql/15/bin")


def write_program(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


def write_redis(folder, *, version="7.2.4"):
    """Write a program that says what a Redis says, and notes that it was run."""
    return write_program(
        folder / "redis-server",
        f"#!/bin/sh\necho run >> {folder}/runs\necho 'Redis server v={version} sha=0 bits=64'\n",
    )


def first(service, path, cache):
    found, refused = find_binaries(service, cache=cache, path=str(path))
    return (found[0] if found else None), refused


def test_the_first_on_the_path_comes_first(tmp_path):
    write_redis(tmp_path / "one", version="6.0.1")
    write_redis(tmp_path / "two", version="7.9.9")
    found, _ = find_binaries("redis", cache=tmp_path / "cache", path=f"{tmp_path}/one:{tmp_path}/two")

    assert [each.version for each in found[:2]] == ["6.0.1", "7.9.9"]
    assert found[0].folder == tmp_path / "one"


def test_a_program_is_asked_for_its_version_once_and_again_when_it_changed(tmp_path):
    write_redis(tmp_path / "bin")
    for _ in range(3):
        first("redis", tmp_path / "bin", tmp_path / "cache")
    once = (tmp_path / "bin" / "runs").read_text()
    write_redis(tmp_path / "bin", version="8.0.10")
    changed, _ = first("redis", tmp_path / "bin", tmp_path / "cache")

    assert once == "run\n"
    assert changed.version == "8.0.10"


def test_a_damaged_version_cache_only_costs_asking_again(tmp_path):
    write_redis(tmp_path / "bin")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "program-versions.json").write_text("[1, {")
    found, _ = first("redis", tmp_path / "bin", cache)

    assert found.version == "7.2.4"


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(tmp_path):
    write_redis(tmp_path / "bin")
    (tmp_path / "cache").write_text("a file where a folder should be")
    found, _ = first("redis", tmp_path / "bin", tmp_path / "cache")

    assert found.version == "7.2.4"


def test_a_link_is_followed_to_where_the_server_really_lies(tmp_path):
    real = write_redis(tmp_path / "opt")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(real)
    found, _ = first("redis", tmp_path / "bin", tmp_path / "cache")

    assert found.folder == tmp_path / "opt"


def test_a_link_to_a_program_of_another_name_is_kept(tmp_path):
    write_redis(tmp_path / "opt").rename(tmp_path / "opt" / "valkey-server")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "redis-server").symlink_to(tmp_path / "opt" / "valkey-server")
    found, _ = first("redis", tmp_path / "bin", tmp_path / "cache")

    assert found.folder == tmp_path / "bin"


def test_a_clickhouse_server_is_asked_as_one_and_not_as_its_client(tmp_path):
    answer = "ClickHouse server version 24.8.4.13 (official build)."
    write_program(tmp_path / "bin" / "clickhouse", f'#!/bin/sh\n[ "$1" = server ] && echo "{answer}"\n')
    found, _ = first("clickhouse", tmp_path / "bin", tmp_path / "cache")

    assert found.version == "24.8.4.13"


@pytest.mark.parametrize("kind", ["broken link", "folder", "not executable"])
def test_what_only_has_the_name_of_a_server_is_passed_over(tmp_path, kind):
    program = tmp_path / "bin" / "redis-server"
    program.parent.mkdir()
    if kind == "broken link":
        program.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        program.mkdir()
    else:
        program.write_text("x")
    found, refused = find_binaries("redis", cache=tmp_path / "cache", path=str(program.parent))

    assert not [each for each in found if tmp_path in each.folder.parents]
    assert refused == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\necho hello\n", "'hello'"),
        ("#!/bin/sh\necho 'no version is set' >&2; exit 126\n", "exit code 126"),
        ("#!/no/such/interpreter\n", "cannot be run"),
    ],
)
def test_a_program_that_is_no_server_is_refused_with_what_it_said(tmp_path, text, reason):
    write_program(tmp_path / "bin" / "redis-server", text)
    _, refused = find_binaries("redis", cache=tmp_path / "cache", path=f"{tmp_path}/bin")

    assert [reason in each for each in refused] == [True]


def test_a_postgres_shim_is_refused(tmp_path):
    for name in ("postgres", "initdb"):
        write_program(tmp_path / "bin" / name, "#!/bin/sh\necho 'postgres (PostgreSQL) 16.4'\n")
    _, refused = find_binaries("postgres", cache=tmp_path / "cache", path=f"{tmp_path}/bin")

    assert any("is a script" in each for each in refused)


def test_a_postgres_without_initdb_is_refused(tmp_path):
    write_program(tmp_path / "bin" / "postgres", "#!/bin/sh\n")
    _, refused = find_binaries("postgres", cache=tmp_path / "cache", path=f"{tmp_path}/bin")

    assert any("no initdb" in each for each in refused)


@pytest.mark.skipif(not DEBIAN.exists(), reason="needs a PostgreSQL of Debian in its usual folder")
def test_a_server_in_the_usual_folder_is_found_though_it_is_not_on_the_path(tmp_path):
    found, _ = find_binaries("postgres", cache=tmp_path, path="/nowhere")

    assert DEBIAN in [each.folder for each in found]


def test_relative_and_empty_parts_of_the_path_are_not_looked_at(tmp_path, monkeypatch):
    write_redis(tmp_path)
    monkeypatch.chdir(tmp_path)
    found, _ = find_binaries("redis", cache=tmp_path / "cache", path=":.:")

    assert not [each for each in found if each.folder == tmp_path]
