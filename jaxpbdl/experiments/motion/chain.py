"""A chain of swinging arms with friction in its joints.

    sum_j J_ij (cos(q_i - q_j) a_j + sin(q_i - q_j) v_j^2) - g P_i sin q_i = torque_i
    torque_i = -k_i (v_i - v_(i-1)) + k_(i+1) (v_(i+1) - v_i)

for the angles q against the vertical, pi at rest, with `P_i = m_i a_i + L_i (m_(i+1) + ..)` the
moments of mass, `J_ii` the inertias about the joints and `J_ij = L_i P_j` for i < j. Motion knows
them up to a common factor: everything here is over `P_n` of the last arm. With the length of an arm
that carries another one, gravity is then known; of a single arm only `g / J_11` is.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks


class Chain(eqx.Module):
    """The rates of a state `(angles, velocities)`; created by `chain`."""

    gravity: Float[Array, ""]
    log_inertias: Float[Array, " arms"]
    log_moments: Float[Array, " carrying"]
    """Of the arms that carry others; that of the last is one."""
    frictions: Float[Array, " arms"]
    lengths: tuple[float, ...] = eqx.field(static=True)

    @property
    def moments(self) -> Float[Array, " arms"]:
        return jnp.concatenate([jnp.exp(self.log_moments), jnp.ones(1)])

    def couplings(self) -> Float[Array, "arms arms"]:
        """`J_ij`."""
        arms, moments = len(self.frictions), self.moments
        matrix = jnp.diag(jnp.exp(self.log_inertias))
        for first in range(arms):
            for second in range(first + 1, arms):
                value = self.lengths[first] * moments[second]
                matrix = matrix.at[first, second].set(value).at[second, first].set(value)
        return matrix

    def torques(self, velocities: Float[Array, " arms"]) -> Float[Array, " arms"]:
        """Of the friction in the joints."""
        relative = jnp.diff(velocities, prepend=0.0)
        joints = self.frictions * relative
        return jnp.append(joints[1:], 0.0) - joints

    def energy(self, state: Float[Array, " state"]) -> Float[Array, ""]:
        """Kinetic and potential, zero at rest."""
        angles, velocities = jnp.split(state, 2)
        matrix = self.couplings() * jnp.cos(angles[:, None] - angles)
        height = jnp.sum(self.moments * (1 + jnp.cos(angles)))
        return velocities @ matrix @ velocities / 2 + self.gravity * height

    def __call__(self, state: Float[Array, " state"]) -> Float[Array, " state"]:
        angles, velocities = jnp.split(state, 2)
        between = angles[:, None] - angles
        couplings = self.couplings()
        pull = self.gravity * self.moments * jnp.sin(angles)
        turning = (couplings * jnp.sin(between)) @ velocities**2
        forces = self.torques(velocities) + pull - turning
        turned = jnp.linalg.solve(couplings * jnp.cos(between), forces)
        return jnp.concatenate([velocities, turned])


def chain(lengths: tuple[float, ...], gravity: float = 9.0, friction: float = 0.01) -> Chain:
    """Where a fit starts: arms that end in a point, each as heavy as all behind it.

    `lengths` of all arms in metres. Raises ValueError for lengths that are not above 0.
    """
    checks.positive("lengths", lengths)
    arms = len(lengths)
    moments = np.arange(arms, 0, -1.0)
    return Chain(
        jnp.asarray(gravity),
        jnp.log(jnp.asarray(lengths) * moments),
        jnp.log(jnp.asarray(moments[:-1])),
        jnp.full(arms, friction),
        tuple(float(length) for length in lengths[:-1]),
    )
