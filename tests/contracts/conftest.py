"""The clients whose updates are defended and attacked."""

import functools

import pytest
from attacking import fresh


@pytest.fixture(scope="session")
def three(small):
    """A client with three digits."""
    return small(3)


@pytest.fixture(scope="session")
def victim(small):
    """A client with one digit."""
    return small(1)


@pytest.fixture(scope="session")
def run(victim):
    """`run(name)`: the attack on the small case from four keys; compiling it is what takes the time."""
    return functools.cache(lambda name: fresh(name, victim))
