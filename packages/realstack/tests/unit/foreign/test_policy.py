"""Which servers may be used for tests, by nothing but their names."""

import dataclasses
import pickle
import socket

import pytest

from realstack.errors import ForeignServerRefused
from realstack.providers.policy import check, is_this_machine
from realstack.services.endpoint import Endpoint


@dataclasses.dataclass(frozen=True)
class Case:
    url: str
    reason: str = ""
    allow_remote: bool = True

    @property
    def service(self) -> str:
        scheme = self.url.partition(":")[0]
        return {"redis": "redis", "rediss": "redis", "unix": "redis", "http": "clickhouse", "https": "clickhouse"}.get(
            scheme, "postgres"
        )


REFUSED = [
    Case("postgresql://u:pw@db.example.com/app", "'db.example.com' is not this machine", allow_remote=False),
    Case("redis://redis:6379/0", "'redis' is not this machine", allow_remote=False),
    Case("postgresql://postgres/app", "is not this machine", allow_remote=False),
    Case("postgresql://u@10.1.2.3/app_test", "is not this machine", allow_remote=False),
    Case("postgresql://u@[2001:db8::1]/app_test", "is not this machine", allow_remote=False),
    Case("postgresql://u@localhost.example.com/t", "is not this machine", allow_remote=False),
    Case("http://host.docker.internal:8123", "is not this machine", allow_remote=False),
    Case("postgresql://localhost/app_production", "database 'app_production' says 'production'"),
    Case("postgresql://127.0.0.1/prod", "says 'prod'"),
    Case("postgresql://prod_admin@localhost/app", "user 'prod_admin' says 'prod'"),
    Case("postgresql://localhost/shopProd", "says 'prod'"),
    Case("postgresql://localhost/PROD1", "says 'prod'"),
    Case("postgresql://db.prod.example.com/app_test", "host 'db.prod.example.com' says 'prod'"),
    Case("postgresql://prod-db-2.internal/app", "says 'prod'"),
    Case("redis://master.cache.internal", "says 'master'"),
    Case("postgresql://pg-primary.internal/app", "says 'primary'"),
    Case("postgresql://db.internal/live", "says 'live'"),
    Case("postgresql://u@shop.abc.eu-west-1.rds.amazonaws.com/shop", "rented server"),
    Case("rediss://x.cache.amazonaws.com:6379", "rented server"),
    Case("https://abc.eu-central-1.aws.clickhouse.cloud:8443", "rented server"),
]
ALLOWED = [
    Case("postgresql://localhost/app"),
    Case("postgresql://postgres:postgres@127.0.0.1:5432/postgres", allow_remote=False),
    Case("postgresql://u@[::1]/app", allow_remote=False),
    Case("postgresql://u@app.localhost/app", allow_remote=False),
    Case("redis://127.0.0.1:6379/0", allow_remote=False),
    Case("unix:///var/run/redis.sock?db=3", allow_remote=False),
    Case("http://localhost:8123", allow_remote=False),
    Case("postgresql://localhost/product_catalog"),
    Case("postgresql://localhost/products", allow_remote=False),
    Case("postgresql://localhost/live_scores", allow_remote=False),
    Case("postgresql://master@localhost/master", allow_remote=False),
    Case("postgresql://localhost/deliveries"),
    Case("postgresql://localhost/prod_test"),
    Case("postgresql://localhost/nonprod"),
    Case("postgresql://localhost/non_prod_copy"),
    Case("postgresql://localhost/preprod"),
    Case("postgresql://db.staging.example.com/app"),
    Case("postgresql://master@db.dev.example.com/app"),
    Case("postgresql://u@shop-test.abc.rds.amazonaws.com/shop"),
    Case("postgresql://u@ep-cool-1234.eu.aws.neon.tech/shop_test"),
    Case("redis://redis:6379/0"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.url)
def test_refused(case: Case) -> None:
    with pytest.raises(ForeignServerRefused) as caught:
        check(Endpoint.parse(case.service, case.url), allow_remote=case.allow_remote, source="DATABASE_URL")

    assert case.reason in caught.value.reason
    assert caught.value.source == "DATABASE_URL"
    assert "Try: " in str(caught.value)
    assert "unset the URL" in caught.value.remedy
    assert ":pw@" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


@pytest.mark.parametrize("case", ALLOWED, ids=lambda case: case.url)
def test_allowed(case: Case) -> None:
    check(Endpoint.parse(case.service, case.url), allow_remote=case.allow_remote, source="DATABASE_URL")


def test_this_machine_by_its_own_name_and_addresses() -> None:
    own = [socket.gethostname(), "0.0.0.0", "127.8.8.8", "LocalHost"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # no packet is sent; tells our address on the way out
            own.append(probe.getsockname()[0])
        except OSError:
            pass

    assert [host for host in own if not is_this_machine(Endpoint(service="redis", host=host, port=1))] == []
    assert not is_this_machine(Endpoint(service="redis", host="192.0.2.1", port=1))
