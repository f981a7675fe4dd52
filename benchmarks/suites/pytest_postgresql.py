"""pytest-postgresql, as its documentation says: the fixture ``postgresql``, the schema by ``postgresql_load``."""

import pytest


@pytest.fixture
def connection(postgresql):
    return postgresql
