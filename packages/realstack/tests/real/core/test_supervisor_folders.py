"""Folders of a run are deleted, and nothing else ever is."""

import fcntl
import os
from pathlib import Path

import pytest

from realstack._core.supervision import Supervision, start_supervisor
from realstack._core.supervisor_folders import (
    Refused,
    claim_folder,
    delete_claimed,
    delete_dead_runs,
    make_run_folder,
    note_claim,
)
from realstack._core.waiting import NotReady, wait_until
from realstack.errors import FolderRefused


def _fill(folder: Path, outside: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "file").write_text("x")
    (folder / "to_folder").symlink_to(outside)
    (folder / "to_file").symlink_to(outside / "precious")
    (folder / "to_nowhere").symlink_to("/nowhere")
    os.mkfifo(folder / "fifo")
    (folder / "deep" / "er").chmod(0o500)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    return tmp_path / "outside"


def test_an_owned_folder_is_deleted_with_all_that_is_in_it_and_links_are_not_followed(
    base: Path, outside: Path
) -> None:
    with start_supervisor(base / "run") as supervision:
        supervision.own_folder(base / "data")
        (base / "data").mkdir()
        _fill(base / "data", outside)

    assert list(base.iterdir()) == []
    assert (outside / "precious").read_text() == "precious"


def test_a_folder_that_is_never_made_is_no_problem(base: Path) -> None:
    with start_supervisor(base / "run") as supervision:
        supervision.own_folder(base / "data")

    assert list(base.iterdir()) == []


def test_owning_a_folder_twice_is_allowed(supervision: Supervision, base: Path) -> None:
    supervision.own_folder(base / "data")
    (base / "data").mkdir()

    supervision.own_folder(base / "data")


@pytest.mark.parametrize(
    "folder",
    ["/", "relative", "/tmp/../etc/new", "/tmp/new/", "//tmp/new", "/nowhere/new", str(Path.home()), "/tmp", ""],
)
def test_folders_that_may_not_be_deleted_are_refused(supervision: Supervision, folder: str) -> None:
    with pytest.raises(FolderRefused) as caught:
        supervision.ask("own_folder", folder=folder, scope="run")

    assert caught.value.folder == folder


def test_a_folder_that_exists_is_refused_and_stays(base: Path) -> None:
    (base / "theirs").mkdir()
    with start_supervisor(base / "run") as supervision, pytest.raises(FolderRefused, match="exists already"):
        supervision.own_folder(base / "theirs")

    assert (base / "theirs").exists()


def test_an_owned_name_that_became_a_link_is_unlinked_and_its_target_stays(base: Path, outside: Path) -> None:
    with start_supervisor(base / "run") as supervision:
        supervision.own_folder(base / "data")
        (base / "data").symlink_to(outside)

    assert not (base / "data").is_symlink()
    assert (outside / "precious").exists()


def test_a_folder_whose_parent_was_exchanged_is_left_alone(base: Path, outside: Path) -> None:
    (base / "parent").mkdir()
    claim = claim_folder(str(base / "parent" / "outside"), keep=())
    (base / "parent").rename(base / "moved")
    (base / "parent").symlink_to(outside.parent)

    assert "left alone" in delete_claimed(claim)
    assert (outside / "precious").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_left_alone(base: Path) -> None:
    claim = claim_folder(str(base / "data"), keep=())
    (base / "data").mkdir()
    os.chown(base / "data", 65534, 65534)

    assert "belongs to user 65534" in delete_claimed(claim)
    assert (base / "data").exists()
    assert delete_claimed(claim, users=[65534]) == ""
    assert not (base / "data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user to try it as one")
def test_an_ordinary_user_deletes_folders_without_permissions_too(base: Path) -> None:
    base.chmod(0o755)
    (base / "home").mkdir()
    os.chown(base / "home", 65534, 65534)

    child = os.fork()
    if child == 0:
        os.setgid(65534)
        os.setuid(65534)
        os._exit(_delete_closed_folder(base / "home" / "data"))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list((base / "home").iterdir()) == []


def _delete_closed_folder(folder: Path) -> int:
    claim = claim_folder(str(folder), keep=())
    (folder / "closed" / "inner").mkdir(parents=True)
    (folder / "closed" / "inner" / "file").touch()
    (folder / "closed" / "inner").chmod(0)
    (folder / "closed").chmod(0o500)
    return 1 if delete_claimed(claim) else 0


def test_an_old_run_in_the_kits_own_folder_is_deleted_by_the_next_one(base: Path) -> None:
    own = base / f"realstack-{os.geteuid()}"
    own.mkdir()
    os.close(_old_run(own, "dead"))

    with start_supervisor(own / "run") as supervision:
        supervision.processes()
        wait_until(lambda: _is_gone(own / "dead"), timeout_s=5)

    assert list(own.iterdir()) == []


def _is_gone(folder: Path) -> None:
    if folder.exists():
        raise NotReady(f"{folder} is there")


def test_what_holds_a_kept_folder_is_refused() -> None:
    for folder in ("/home/me", "/home/me/run"):
        with pytest.raises(Refused, match="contains /home/me/run"):
            claim_folder(folder, keep=["/home/me/run"])


def _old_run(base: Path, name: str) -> int:
    alive = make_run_folder(str(base / name))
    claim = claim_folder(str(base / f"{name}-data"), keep=())
    note_claim(str(base / name), claim)
    (base / f"{name}-data").mkdir()
    (base / f"{name}-data" / "file").touch()
    os.utime(base / name, (0, 0))
    return alive


def test_runs_that_died_with_the_machine_are_deleted_and_living_ones_are_not(base: Path) -> None:
    os.close(_old_run(base, "dead"))
    living = _old_run(base, "living")
    (base / "no-run").mkdir()
    os.utime(base / "no-run", (0, 0))
    young = make_run_folder(str(base / "young"))
    os.close(young)

    assert delete_dead_runs(str(base)) == []

    assert sorted(each.name for each in base.iterdir()) == ["living", "living-data", "no-run", "young"]
    fcntl.flock(living, fcntl.LOCK_UN)
    os.close(living)


def test_a_run_folder_and_its_socket_are_private(supervision: Supervision) -> None:
    supervision.processes()

    assert supervision.run_folder.stat().st_mode & 0o777 == 0o700
    assert (supervision.run_folder / "supervisor.sock").stat().st_mode & 0o777 == 0o600
