"""Masking."""

import pytest

from agent_backend.storage.urls import mask_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("redis://:hunter2@h/0", "redis://:***@h/0"),
        ("postgresql://u:hun@ter2@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:hun/ter2@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql:///db?host=/tmp&password=hunter2&user=u", "postgresql:///db?host=/tmp&password=***&user=u"),
        ("host=h password=hunter2 dbname=x", "host=h password=*** dbname=x"),
        ("host=h password='hun ter2' dbname=x", "host=h password=*** dbname=x"),
        ("postgresql://h/db?sslpassword=hunter2", "postgresql://h/db?sslpassword=***"),
    ],
)
def test_a_password_is_masked_wherever_it_stands(url, shown):
    assert mask_url(url) == shown
