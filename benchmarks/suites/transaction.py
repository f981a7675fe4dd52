"""realstack: the fixture ``database_transaction``, everything on one connection and rolled back."""

import pytest


@pytest.fixture
def connection(database_transaction):
    return database_transaction
