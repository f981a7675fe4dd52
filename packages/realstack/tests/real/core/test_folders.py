import os
from pathlib import Path

import pytest

from realstack._core import folders
from realstack._core.folders import cache_folder, check_socket_path, data_folder, open_run_folder
from realstack.errors import FolderUnsafe, SocketPathTooLong

NAME = f"realstack-{os.geteuid()}"


@pytest.fixture
def temporary(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a short folder of our own in the place of /tmp."""
    monkeypatch.setattr(folders, "SHORT_TEMPORARY", base)
    return base


def test_a_run_folder_is_a_new_short_path_in_a_private_folder() -> None:
    first, second = open_run_folder({}), open_run_folder({})

    assert first != second
    assert first.parent == Path("/tmp") / NAME
    assert first.parent.stat().st_mode & 0o777 == 0o700
    assert not first.exists()
    check_socket_path(first / "postgres-a_rather_long_instance_name" / ".s.PGSQL.65535")


def test_a_run_folder_goes_elsewhere_when_our_name_in_tmp_is_taken(temporary: Path) -> None:
    (temporary / NAME).symlink_to("/etc")
    (temporary / "own").mkdir()

    run = open_run_folder({"XDG_RUNTIME_DIR": str(temporary / "own")})

    assert run.parent == temporary / "own" / NAME


def _link(folder: Path) -> None:
    folder.symlink_to("/etc")


def _file(folder: Path) -> None:
    folder.touch()


def _open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def _of_somebody_else(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)


@pytest.mark.parametrize(
    ("take", "reason"),
    [
        (_link, "symbolic link"),
        (_file, "exists"),
        (_open_to_others, "mode 0777"),
        pytest.param(
            _of_somebody_else, "user 65534", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can")
        ),
    ],
)
def test_a_base_folder_that_is_not_ours_alone_is_refused_with_the_reason(
    temporary: Path, take: object, reason: str
) -> None:
    take(temporary / NAME)  # type: ignore[operator]

    with pytest.raises(FolderUnsafe, match=reason) as caught:
        open_run_folder({})

    assert caught.value.tried[0][0] == str(temporary / NAME)
    assert "XDG_RUNTIME_DIR" in str(caught.value)


def test_a_base_folder_too_long_for_sockets_is_refused(temporary: Path, tmp_path: Path) -> None:
    (temporary / NAME).touch()
    long = tmp_path / ("x" * 90)
    long.mkdir()

    with pytest.raises(FolderUnsafe, match="too long for a socket"):
        open_run_folder({"TMPDIR": str(long)})


def test_a_socket_path_that_is_too_long_is_an_error_with_its_length() -> None:
    path = Path("/tmp") / ("é" * 60)

    with pytest.raises(SocketPathTooLong) as caught:
        check_socket_path(path)

    assert (caught.value.length, caught.value.limit) == (125, 103)


def test_data_goes_into_memory_when_there_is_room() -> None:
    found = data_folder({}, need_bytes=1)
    if not Path("/dev/shm").is_dir():
        pytest.skip("this system has no /dev/shm")

    assert (found.in_memory, found.reason) == (True, "")
    assert found.path.parent == Path("/dev/shm") / NAME
    assert not found.path.exists()


def test_data_goes_to_disk_with_a_reason_when_memory_is_too_small(temporary: Path) -> None:
    found = data_folder({}, need_bytes=1 << 60)

    assert (found.in_memory, found.path.parent) == (False, temporary / NAME)
    assert "MiB left" in found.reason


def test_data_goes_to_disk_with_a_reason_when_there_is_no_memory_folder(temporary: Path, tmp_path: Path) -> None:
    found = data_folder({"TMPDIR": str(tmp_path)}, need_bytes=1, memory=tmp_path / "shm")

    assert found.path.parent == tmp_path / NAME
    assert found.reason == f"{tmp_path / 'shm'} does not exist"


def test_data_goes_to_disk_when_the_memory_folder_is_a_disk(tmp_path: Path, temporary: Path) -> None:
    assert "not a file system in memory" in data_folder({}, need_bytes=1, memory=temporary).reason


def test_data_goes_to_disk_when_our_name_in_memory_is_taken(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_is_tmpfs", lambda _folder: True)
    (temporary / "shm").mkdir()
    (temporary / "shm" / NAME).symlink_to("/etc")

    found = data_folder({}, need_bytes=1, memory=temporary / "shm")

    assert not found.in_memory
    assert "symbolic link" in found.reason


def test_the_cache_folder_is_where_the_user_wants_it(tmp_path: Path) -> None:
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path / "xdg"), "HOME": "/nowhere"}) == tmp_path / "xdg" / "realstack"
    assert cache_folder({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "realstack"
    assert cache_folder({"XDG_CACHE_HOME": "relative", "HOME": str(tmp_path)}) == tmp_path / ".cache" / "realstack"
    assert (tmp_path / ".cache" / "realstack").is_dir()


def test_without_a_usable_home_the_cache_is_in_tmp(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    assert cache_folder({"HOME": str(tmp_path / "home")}) == temporary / NAME / "cache"
