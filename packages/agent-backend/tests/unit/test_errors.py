"""The tree of errors."""

import dataclasses
import pickle

import pytest

from agent_backend import errors
from agent_backend.errors import BackendError

SAMPLES = {"str": "word", "int": 3, "float": 1.5}


def tree(root: type[BackendError]) -> list[type[BackendError]]:
    return [kind for child in root.__subclasses__() for kind in (child, *tree(child))]


@pytest.mark.parametrize("kind", tree(BackendError), ids=lambda kind: kind.__name__)
def test_every_error_tells_its_fields_and_survives_pickling(kind):
    fields = {
        field.name: SAMPLES[str(getattr(field.type, "__name__", field.type))] for field in dataclasses.fields(kind)
    }
    error = kind(**fields)

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert {name: getattr(copy, name) for name in fields} == fields
    assert str(copy) == str(error)
    assert "{" not in str(error)
    assert isinstance(kind.retryable, bool)


def test_callers_can_catch_what_they_know():
    assert issubclass(errors.StorageUnavailable, ConnectionError)
    assert issubclass(errors.StorageTimeout, TimeoutError)
    for kind in (errors.ArgumentInvalid, errors.NamespaceViolation, errors.ValueNotSerialisable, errors.ValueTooLarge):
        assert issubclass(kind, ValueError)
