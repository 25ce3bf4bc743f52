"""Types and shapes in the signatures are checked while the tests run (see `pyproject.toml`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from jaxpbdl import fields
from jaxpbdl.fields import Box

BOX = Box((0.0, 0.0), (1.0, 2.0))
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def checked(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("jaxtyping_packages"):
        pytest.skip("the checks are switched off by --jaxtyping-packages=")


def refused(call: Callable[[], Any]) -> str:
    """Why the checks refuse a call; inside `pytest.raises` they are off (see `conftest.py`)."""
    try:
        call()
    except jaxtyping.TypeCheckError as error:
        return str(error)
    pytest.fail("the call was not refused")


def test_another_rank_is_refused():
    assert "parameter 'unit'" in refused(lambda: BOX.scale(jnp.ones(2)))


def test_another_type_is_refused():
    assert "parameter 'count'" in refused(lambda: fields.uniform(KEY, BOX, 3.5))


def test_axes_of_one_name_have_one_size():
    message = refused(lambda: fields.refine(KEY, jnp.ones(9), jnp.ones((10, 2)), 5))
    assert "parameter 'candidates'" in message


def test_inside_raises_the_package_itself_refuses():
    with pytest.raises(ValueError, match="residual must have shape"):
        fields.refine(KEY, jnp.ones(9), jnp.ones((10, 2)), 5)
    refused(lambda: BOX.scale(jnp.ones(2)))  # afterwards they are on again
