"""What tests of the files of packed networks share."""

import pytest

from bnas.errors import InputError
from bnas.packed import PackedNetwork


def refused(path, says):
    with pytest.raises(InputError, match=says) as caught:
        PackedNetwork.load(path)
    assert str(path) in str(caught.value)


def records(value, kind):
    """All records of a kind in the JSON of a network."""
    if isinstance(value, dict):
        found = [value] if value.get("is") == kind else []
        return found + [r for part in value.values() for r in records(part, kind)]
    if isinstance(value, list):
        return [r for part in value for r in records(part, kind)]
    return []
