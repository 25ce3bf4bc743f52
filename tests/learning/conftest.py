"""The batches of the regression, as fixtures."""

import jax.numpy as jnp
import pytest
from regression import Batches, table


@pytest.fixture
def batches():
    return Batches(*map(jnp.asarray, table()))


@pytest.fixture
def whole():
    return Batches(*map(jnp.asarray, table()), whole=True)
