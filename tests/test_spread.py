"""Members shared out over devices."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.spread import spread


def test_spread_is_vmap():
    members = {"a": jnp.arange(5.0), "b": jnp.arange(15.0).reshape(5, 3)}

    def function(member, factor):
        return factor * member["a"] + jnp.sum(member["b"] ** 2)

    factors = jnp.linspace(0, 1, 5)
    expected = jax.vmap(function)(members, factors)
    np.testing.assert_allclose(spread(function, members, factors), expected, rtol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="share a first axis"):
        spread(jnp.add, jnp.zeros(3), jnp.zeros(4))
    for numbers in (jnp.zeros((0, 2)), 1.0, [1.0, 2.0], None):
        with pytest.raises(ValueError, match="arrays with a first axis of at least 1, got shapes"):
            spread(jnp.sin, numbers)


def test_an_odd_number_of_members_on_two_devices():
    code = (
        "import jax; jax.config.update('jax_num_cpu_devices', 2)\n"
        "import jax.numpy as jnp, numpy as np\n"
        "from jaxpbdl.spread import spread\n"
        "x = jnp.arange(6.0).reshape(3, 2)\n"
        "y = spread(lambda m: {'s': m.sum()}, x)['s']\n"
        "np.testing.assert_allclose(y, x.sum(1)); assert len(y.devices()) <= 2\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
