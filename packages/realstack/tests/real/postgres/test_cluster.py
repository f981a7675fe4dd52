import errno
import os
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from realstack.errors import ServerStartFailed
from realstack.services.postgres.cluster import cluster_archive, make_cluster, pack_cluster, unpack_cluster
from realstack.services.postgres.control import needless_wal


@pytest.fixture
def own_cache(lab, tmp_path):
    """A cache nobody else has put anything into."""
    lab.cache = tmp_path
    return tmp_path


@pytest.fixture
def filled_cache(lab, own_cache, cache):
    """A cache of its own in which the cluster lies already."""
    made = cluster_archive(lab.installation, cache=cache)
    if not made.exists():
        lab.cache = cache
        lab.cluster()
        lab.cache = own_cache
    (own_cache / "clusters").mkdir()
    shutil.copy(made, own_cache / "clusters")
    return own_cache


def make(lab, data, **more):
    return make_cluster(
        lab.installation, data=data, cache=lab.cache, supervisor=lab.supervisor, log=lab.log, timeout_s=30, **more
    )


def identity(data):
    """The number initdb gave the cluster."""
    return (data / "global" / "pg_control").read_bytes()[:8]


def rows(server, sql, database="postgres"):
    with server.connect(database) as connection:
        return connection.query(sql)


def test_initdb_runs_once_and_the_archive_serves_ever_after(lab, own_cache):
    first, second = lab.new_data(), lab.new_data()

    assert make(lab, first) is False
    assert make(lab, second) is True
    assert identity(first) == identity(second)


def test_a_cluster_is_private_to_its_owner(lab):
    assert stat.S_IMODE(lab.cluster().stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["cut off", "of another kind", "empty"])
def test_a_damaged_archive_is_made_anew_and_the_log_says_so(lab, filled_cache, damage):
    archive = cluster_archive(lab.installation, cache=filled_cache)
    whole = archive.read_bytes()
    archive.write_bytes({"cut off": whole[:-5000], "of another kind": b"x" * 5000, "empty": b""}[damage])
    data = lab.new_data()

    assert make(lab, data) is False
    assert rows(lab.start(data), "select 1") == [("1",)]
    assert "made anew" in lab.log.read_text()
    assert make(lab, lab.new_data()) is True


def test_an_archive_with_altered_content_is_replaced_when_asked(lab, filled_cache):
    archive = cluster_archive(lab.installation, cache=filled_cache)
    whole = archive.read_bytes()
    altered = whole.replace(identity_of_archive(lab, filled_cache), b"\xff" * 8)
    archive.write_bytes(altered)
    data = lab.new_data()
    make(lab, data)
    with pytest.raises(ServerStartFailed):
        lab.start(data)
    data = lab.new_data()

    assert make(lab, data, fresh=True) is False
    assert rows(lab.start(data), "select 1") == [("1",)]
    assert make(lab, lab.new_data()) is True
    assert altered != whole


def identity_of_archive(lab, cache):
    data = lab.new_data()
    unpack_cluster(cluster_archive(lab.installation, cache=cache), data)
    return identity(data)


def test_two_at_once_make_it_once(lab, own_cache):
    folders = [lab.new_data(), lab.new_data()]
    with ThreadPoolExecutor(2) as both:
        from_cache = list(both.map(lambda data: make(lab, data), folders))

    assert sorted(from_cache) == [False, True]
    assert identity(folders[0]) == identity(folders[1])


def test_other_options_make_another_cluster(lab):
    server = lab.start(lab.cluster(options=["--locale=C"]))

    assert rows(server, "select datcollate from pg_database where datname = 'template1'") == [("C",)]
    assert rows(lab.start(), "select datcollate from pg_database where datname = 'template1'") == [("C.UTF-8",)]


def test_options_initdb_refuses_are_an_error_with_its_words(lab, own_cache):
    with pytest.raises(ServerStartFailed) as caught:
        make(lab, lab.new_data(), options=["--no-such-option"])

    assert "no-such-option" in caught.value.log_tail
    assert list((own_cache / "clusters").glob("*.cluster")) == []


def test_a_missing_locale_falls_back_to_one_that_is_everywhere(lab, own_cache, monkeypatch):
    monkeypatch.setattr("realstack.services.postgres.cluster._LOCALES", ("xx_XX.UTF-8", "C"))
    data = lab.new_data()
    make(lab, data)

    assert rows(lab.start(data), "select datctype, encoding from pg_database limit 1") == [("C", "6")]


def test_what_a_stopped_server_wrote_comes_back_from_its_archive(each_lab, tmp_path):
    server = each_lab.start()
    server.connection.query("create database realstack_template_x")
    with server.connect("realstack_template_x") as connection:
        connection.script(
            "create table t (a int, b text); insert into t select g, 'wörd' from generate_series(1, 5000) g"
        )
    server.stop(keep_data=True)
    pack_cluster(server.data, tmp_path / "kept.cluster")
    data = each_lab.new_data()

    assert unpack_cluster(tmp_path / "kept.cluster", data)
    again = each_lab.start(data, database="realstack_template_x")
    assert again.connection.query("select count(*), max(b) from t") == [("5000", "wörd")]


def test_write_ahead_log_nobody_needs_is_not_packed(lab, tmp_path):
    server = lab.start()
    server.connection.script(
        "create table t as select g, repeat('x', 200) from generate_series(1, 200000) g; drop table t"
    )
    server.stop(keep_data=True)
    left_out = needless_wal(server.data)
    pack_cluster(server.data, tmp_path / "kept.cluster")
    data = lab.new_data()
    unpack_cluster(tmp_path / "kept.cluster", data)

    assert len(left_out) >= 2
    assert len([each for each in (data / "pg_wal").iterdir() if len(each.name) == 24]) == 1
    assert rows(lab.start(data), "select 1") == [("1",)]


def test_a_replication_slot_keeps_the_write_ahead_log_it_needs(lab):
    server = lab.start()
    server.connection.query("select pg_create_physical_replication_slot('s', true)")
    server.connection.script("create table t as select g, repeat('x', 200) from generate_series(1, 200000) g")
    server.stop(keep_data=True)

    assert needless_wal(server.data) == ()


def test_a_cluster_that_was_not_shut_down_in_order_is_not_packed(lab, tmp_path):
    server = lab.start()
    server.stop()

    with pytest.raises(ValueError, match="shut down"):
        pack_cluster(server.data, tmp_path / "kept.cluster")


@pytest.mark.parametrize("parent", ["missing", "file"])
def test_a_place_for_data_that_is_none_is_not_taken_for_a_missing_archive(lab, tmp_path, parent):
    lab.cluster()
    archive = cluster_archive(lab.installation, cache=lab.cache)
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="data"):
        unpack_cluster(archive, tmp_path / parent / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system that is small")
def test_a_file_system_that_is_full_leaves_no_half_cluster(lab, tmp_path):
    lab.cluster()
    archive = cluster_archive(lab.installation, cache=lab.cache)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", tmp_path], check=True)
    try:
        with pytest.raises(OSError, match="No space left"):
            unpack_cluster(archive, tmp_path / "data")
        left = list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", tmp_path], check=True)

    assert left == []
    assert archive.exists()


def test_a_cache_that_is_full_costs_the_next_run_and_not_this_one(lab, own_cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("realstack.services.postgres.cluster.pack", full)
    data = lab.new_data()

    assert make(lab, data) is False
    assert rows(lab.start(data), "select 1") == [("1",)]
    assert "could not be kept" in lab.log.read_text()


def test_an_archive_nobody_used_for_two_months_is_deleted_and_a_used_one_stays(lab, filled_cache):
    used = cluster_archive(lab.installation, cache=filled_cache)
    unused = used.with_name("postgres-9.6.24-0123456789ab.cluster")
    shutil.copy(used, unused)
    for archive in (used, unused):
        os.utime(archive, (0, 0))
    make(lab, lab.new_data())
    make(lab, lab.new_data(), options=["--locale=C"])

    assert used.exists()
    assert not unused.exists()
