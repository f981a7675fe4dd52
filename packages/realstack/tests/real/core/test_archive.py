import filecmp
import multiprocessing
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from realstack._core.archive import pack, unpack
from realstack.errors import ArchiveDamaged


def _tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of everything in *folder*."""
    found: dict[str, tuple[int, bytes]] = {".": (folder.stat().st_mode, b"")}
    for path in sorted(folder.rglob("*")):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, content)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = random.Random(7)
    folder = tmp_path / "data"
    (folder / "base" / "1").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o700)
    (folder / "readable").mkdir(mode=0o755)
    for number in range(500):
        (folder / "base" / "1" / str(number)).write_bytes(rng.randbytes(rng.choice([0, 1, 100, 4096, 8192, 12_345])))
    (folder / "zeros").write_bytes(bytes(1_000_000))
    (folder / "ends_in_zeros").write_bytes(b"x" + bytes(100_000))
    (folder / "starts_with_zeros").write_bytes(bytes(100_000) + b"x")
    (folder / "holes").write_bytes((bytes(8192) + rng.randbytes(4096)) * 20 + bytes(17))
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    (folder / "read_only").write_text("x")
    (folder / "read_only").chmod(0o400)
    (folder / "ünï\ncode name").write_text("x")
    (folder / "link").symlink_to("base/1/3")
    (folder / "dangling").symlink_to("/nowhere")
    (folder / "to_folder").symlink_to("base")
    folder.chmod(0o750)
    return folder


def test_an_unpacked_folder_is_the_packed_one(folder: Path, tmp_path: Path) -> None:
    size = pack(folder, tmp_path / "archive")

    unpack(tmp_path / "archive", tmp_path / "copy")

    assert _tree(tmp_path / "copy") == _tree(folder)
    assert size == (tmp_path / "archive").stat().st_size


def test_zeros_take_no_room(folder: Path, tmp_path: Path) -> None:
    before = pack(folder, tmp_path / "archive")
    (folder / "more_zeros").write_bytes(bytes(50_000_000))

    assert pack(folder, tmp_path / "archive") - before < 200
    unpack(tmp_path / "archive", tmp_path / "copy")
    assert (tmp_path / "copy" / "more_zeros").stat().st_size == 50_000_000
    assert (tmp_path / "copy" / "more_zeros").stat().st_blocks == 0


def test_what_is_to_be_skipped_is_left_out_and_so_are_sockets(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "fifo")
    pack(folder, tmp_path / "archive", skip=["script", "base/1", "link"])

    unpack(tmp_path / "archive", tmp_path / "copy")

    wanted = {
        path: each
        for path, each in _tree(folder).items()
        if path not in ("script", "base/1", "link", "fifo") and not path.startswith("base/1/")
    }
    assert _tree(tmp_path / "copy") == wanted


def test_modes_do_not_depend_on_the_umask(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "archive")
    umask = os.umask(0o077)
    try:
        unpack(tmp_path / "archive", tmp_path / "copy")
    finally:
        os.umask(umask)

    assert _tree(tmp_path / "copy") == _tree(folder)


def _cut(raw: bytes) -> bytes:
    return raw[:-1]


def _cut_header(raw: bytes) -> bytes:
    return raw[:20]


def _lengthen(raw: bytes) -> bytes:
    return raw + b"x"


def _change_index(raw: bytes) -> bytes:
    return raw[:70] + bytes([raw[70] ^ 1]) + raw[71:]


def _other_version(raw: bytes) -> bytes:
    return raw[:8] + b"\2" + raw[9:]


def _not_ours(raw: bytes) -> bytes:
    return b"PK" + raw[2:]


def _empty(_raw: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [_cut, _cut_header, _lengthen, _change_index, _other_version, _not_ours, _empty])
def test_a_damaged_archive_is_an_error_that_names_it_and_nothing_is_made(
    folder: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    archive = tmp_path / "archive"
    pack(folder, archive)
    archive.write_bytes(damage(archive.read_bytes()))

    with pytest.raises(ArchiveDamaged) as caught:
        unpack(archive, tmp_path / "copy")

    assert caught.value.archive == str(archive)
    assert not (tmp_path / "copy").exists()


def test_a_folder_that_exists_is_not_written_to(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "archive")
    (tmp_path / "copy").mkdir()

    with pytest.raises(FileExistsError):
        unpack(tmp_path / "archive", tmp_path / "copy")


def test_a_failed_pack_leaves_the_old_archive_and_no_rest(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "cache")
    old = (tmp_path / "cache").read_bytes()

    with pytest.raises(FileNotFoundError):
        pack(tmp_path / "nowhere", tmp_path / "cache")

    assert (tmp_path / "cache").read_bytes() == old
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cache", "data"]


def _pack_often(folder: Path, archive: Path) -> None:
    for _ in range(20):
        pack(folder, archive)


def test_readers_and_writers_at_once_never_see_half_an_archive(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    pack(folder, archive)
    wanted = _tree(folder)
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_pack_often, args=(folder, archive)) for _ in range(2)]
    for writer in writers:
        writer.start()

    turn = 0
    while any(writer.is_alive() for writer in writers):
        unpack(archive, tmp_path / f"copy{turn}")
        assert _tree(tmp_path / f"copy{turn}") == wanted
        turn += 1
    for writer in writers:
        writer.join()

    assert turn > 0
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert not list(tmp_path.glob(".archive*"))


def test_private_modes_survive(tmp_path: Path) -> None:
    (tmp_path / "data" / "global").mkdir(parents=True, mode=0o700)
    (tmp_path / "data").chmod(0o700)
    (tmp_path / "data" / "global" / "pg_control").touch(mode=0o600)
    pack(tmp_path / "data", tmp_path / "archive")

    unpack(tmp_path / "archive", tmp_path / "copy")

    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    assert filecmp.dircmp(tmp_path / "data", tmp_path / "copy").left_only == []
    assert stat.S_IMODE((tmp_path / "copy" / "global" / "pg_control").stat().st_mode) == 0o600
