"""Few levels and their controls: exact pulses, loss of coherence, gradients, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import jaxpbdl as jp
from jaxpbdl.inference import least_squares
from jaxpbdl.solvers import quantum as q

pytestmark = pytest.mark.x64


def hermitian(seed, n):
    generator = np.random.default_rng(seed)
    one = generator.normal(size=(n, n)) + 1j * generator.normal(size=(n, n))
    return one + one.conj().T


def test_operators():
    a = q.lowering(5)
    np.testing.assert_allclose((a @ a.T - a.T @ a)[:4, :4], np.eye(4), atol=1e-14)
    np.testing.assert_allclose(a @ np.eye(5)[3], np.sqrt(3) * np.eye(5)[2])
    np.testing.assert_allclose(q.pauli_x @ q.pauli_y, 1j * q.pauli_z)
    np.testing.assert_allclose(q.pauli_y @ q.pauli_z, 1j * q.pauli_x)
    both = q.tensor(q.pauli_z, q.pauli_x)
    np.testing.assert_allclose(both @ np.eye(4)[2], -np.eye(4)[3])
    np.testing.assert_allclose(q.transition(3, 0, 2) @ np.eye(3)[2], np.eye(3)[0])


def test_the_area_of_a_pulse():
    """(u / 2) sigma_x turns 0 to 1 with the probability sin^2(u T / 2); below pi / u no pulse of
    that height does better."""
    step = q.few_levels(np.zeros((2, 2)), [q.pauli_x / 2], 0.1)
    up = jnp.array([1.0, 0.0]) + 0j
    for height in (0.7, 1.9):
        final = jp.rollout(step, up, 20, 20, inputs=jnp.full((20, 1), height))[-1]
        missed = q.infidelity(final, jnp.array([0, 1j]))
        assert float(missed) == pytest.approx(np.cos(height) ** 2, abs=1e-12)
        assert float(jnp.angle(final[1])) == pytest.approx(-np.pi / 2)  # exp(-i H t), not +
    detuned = q.few_levels(0.5 * 2.0 * q.pauli_z, [q.pauli_x / 2], 1.3)
    total = np.hypot(2.0, 1.5)
    known = (1.5 / total * np.sin(total * 1.3 / 2)) ** 2
    flipped = 1 - q.infidelity(detuned(up, jnp.array([1.5])), jnp.array([0, 1 + 0j]))
    assert float(flipped) == pytest.approx(known, abs=1e-12)


def test_unitaries_against_the_exponential():
    """Columns are states; the derivative holds where levels are equal."""
    drift, controls = hermitian(0, 4), [hermitian(1, 4), hermitian(2, 4)]
    step = q.few_levels(drift, controls, 0.3)
    u = jnp.array([0.4, -1.1])
    exact = scipy.linalg.expm(-0.3j * (drift + 0.4 * controls[0] - 1.1 * controls[1]))
    found = step(jnp.eye(4) + 0j, u)
    np.testing.assert_allclose(found, exact, atol=1e-12)
    np.testing.assert_allclose(step(jnp.eye(4)[:, 2] + 0j, u), exact[:, 2], atol=1e-12)
    np.testing.assert_allclose(found.conj().T @ found, np.eye(4), atol=1e-13)

    @jax.jit
    def change(hamiltonian, dt):
        return jax.jvp(q.propagator, (hamiltonian, dt), (controls[0] + 0j, jnp.asarray(0.7)))[1]

    for held in (drift, np.zeros((4, 4)), np.diag([1.0, 1, 2, 2])):
        known, block = scipy.linalg.expm_frechet(-0.3j * held, -0.3j * controls[0])
        expected = block - 0.7j * held @ known
        np.testing.assert_allclose(change(held + 0j, jnp.asarray(0.3)), expected, atol=1e-12)


def test_gradients_vmap_and_jit():
    drift, controls = hermitian(3, 3), [hermitian(4, 3), hermitian(5, 3)]
    step = q.few_levels(drift, controls, 0.2)
    target = jnp.array([0, 0.6, 0.8j])

    def missed(amplitudes):
        start = jnp.array([1.0, 0, 0]) + 0j
        final = jp.rollout(step, start, 5, 5, inputs=amplitudes)[-1]
        return q.infidelity(final, target)

    pulses = jax.random.normal(jax.random.key(1), (3, 5, 2))
    value, slope = jax.jit(missed), jax.jit(jax.grad(missed))(pulses[0])
    for place in ((0, 0), (2, 1), (4, 0)):
        up, down = (value(pulses[0].at[place].add(sign * 1e-5)) for sign in (1, -1))
        assert float(slope[place]) == pytest.approx(float(up - down) / 2e-5, rel=1e-7)
    loop = [value(pulse) for pulse in pulses]
    np.testing.assert_allclose(jax.jit(jax.vmap(missed))(pulses), jnp.stack(loop), atol=1e-13)
    assert float(missed(pulses[0])) == pytest.approx(float(loop[0]), abs=1e-13)


def test_loss_of_coherence():
    """A driven qubit that decays: without a drive exp(-t / T1) and exp(-t / (2 T1)); without decay
    as its state; trace and adjoint stay."""
    decay = 0.8
    loss = [q.lowering(2) * decay**0.5]
    start = jnp.array([[0.3, 0.2 - 0.1j], [0.2 + 0.1j, 0.7]])
    still = jnp.zeros(1)
    step = q.lindblad(0.5 * 1.5 * q.pauli_z, [q.pauli_x / 2], loss, 0.4)
    later = step(start, still)
    assert float(later[1, 1].real) == pytest.approx(0.7 * np.exp(-decay * 0.4))
    turned = start[0, 1] * np.exp(-decay * 0.2 - 1.5j * 0.4)
    assert complex(later[0, 1]) == pytest.approx(complex(turned))
    driven = step(start, jnp.array([2.0]))
    assert complex(jnp.trace(driven)) == pytest.approx(1.0)
    np.testing.assert_allclose(driven, driven.conj().T, atol=1e-14)
    drift, control = hermitian(6, 3), hermitian(7, 3)
    pure = q.few_levels(drift, [control], 0.4)(jnp.array([0.6, 0, 0.8j]), jnp.array([0.5]))
    nothing = q.lindblad(drift, [control], [np.zeros((3, 3))], 0.4)
    state = jnp.array([0.6, 0, 0.8j])
    mixed = nothing(jnp.outer(state, state.conj()), jnp.array([0.5]))
    np.testing.assert_allclose(mixed, jnp.outer(pure, pure.conj()), atol=1e-12)
    h, u = 1e-5, 2.0

    @jax.jit
    @jax.value_and_grad
    def excited(u):
        return step.advance(start, u[None])[1, 1].real

    values = [excited(jnp.asarray(one)) for one in (u - h, u, u + h)]
    slope, difference = values[1][1], (values[2][0] - values[0][0]) / (2 * h)
    assert float(slope) == pytest.approx(float(difference), rel=1e-7)


def test_infidelity_and_residuals():
    """Neither sees a phase; leakage out of the columns of a gate counts in both."""
    target = jnp.eye(3)[:, :2] + 0j
    turned = jnp.exp(0.7j) * target
    assert float(q.infidelity(turned, target)) == pytest.approx(0, abs=1e-14)
    assert float(jnp.sum(q.distance(turned, target) ** 2)) == pytest.approx(0, abs=1e-14)
    c, s = np.cos(0.3), np.sin(0.3)
    leaked = jnp.array([[1, 0], [0, c], [0, s]]) + 0j
    assert float(q.infidelity(leaked, target)) == pytest.approx(1 - ((1 + c) / 2) ** 2)
    assert float(jnp.sum(q.distance(leaked, target) ** 2)) == pytest.approx(1 - c)


def test_limits_of_pulses():
    """Any parameters stay within the limits, which are reached; a filter keeps the band."""
    big = 5 * jax.random.normal(jax.random.key(2), (40, 2))
    box, ball = q.WithinBox(jnp.array([0.5, 2.0])), q.WithinBall(3.0)
    assert np.all(np.max(np.abs(box(big)), axis=0) <= [0.5, 2.0])
    np.testing.assert_allclose(box(jnp.full((1, 2), np.pi / 2)), [[0.5, 2.0]])
    sizes = np.linalg.norm(ball(big), axis=-1)
    assert np.max(sizes) <= 3 and np.max(sizes) > 2.9
    np.testing.assert_allclose(ball(jnp.array([[0.0, -np.pi / 2]])), [[0, -3.0]], atol=1e-12)
    held = q.HeldPulse(big, 8.0, ball)
    np.testing.assert_allclose(q.in_slices(held, 80)[::2], q.in_slices(held, 40))
    np.testing.assert_allclose(held(jnp.array([0.3]))[0], ball(big)[1])
    values = jnp.full((25, 1), np.pi / 2)
    flat = q.FilteredPulse(values, 20.0, 0.5, 4.0, q.WithinBox(2.0))
    times = jnp.array([0.0, 3.5, 4.0, 10.0, 20.0])
    steps = scipy.stats.norm.cdf((np.asarray(times) - 3.75) / 0.5)
    steps = steps - scipy.stats.norm.cdf((np.asarray(times) - 16.25) / 0.5)
    np.testing.assert_allclose(flat(times)[:, 0], 2 * steps, atol=2e-2)
    assert float(flat(times)[3, 0]) == pytest.approx(2.0, rel=1e-7)
    rough = q.FilteredPulse(big[:25], 20.0, 0.5, 4.0, box)
    fine = q.in_slices(rough, 400)[:, 1]
    assert float(jnp.max(jnp.abs(fine))) < 2.0
    spectrum = np.abs(np.fft.rfft(fine)) / 400
    frequencies = np.fft.rfftfreq(400, 0.05)
    band = np.exp(-((2 * np.pi * frequencies * 0.5) ** 2) / 2)
    assert np.all(spectrum <= 2.0 * band + 1e-6)
    assert np.max(spectrum[frequencies > 0.2]) > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_a_gate_by_least_squares(seed):
    """A Hadamard gate from controls of at most 1, to round-off."""
    controls = [q.pauli_x, q.pauli_y, q.pauli_z]
    step = q.few_levels(0.05 * q.pauli_z, controls, np.pi / 2 / 8)
    target = jnp.array([[1, 1], [1, -1]]) / 2**0.5 + 0j
    start = 0.3 * jax.random.normal(jax.random.key(seed), (8, 3))
    pulse = q.HeldPulse(start, np.pi / 2, q.WithinBox(1.0))

    def reached(pulse):
        return jp.rollout(step, jnp.eye(2) + 0j, 8, 8, inputs=q.in_slices(pulse, 8))[-1]

    with pytest.warns(UserWarning, match="do not determine"):
        found = least_squares(lambda p: q.distance(reached(p), target), pulse, noise=1.0).values
    assert float(q.infidelity(reached(found), target)) < 1e-13
    assert float(jnp.max(jnp.abs(q.in_slices(found, 8)))) <= 1.0


def test_bad_input():
    x = q.pauli_x
    for arguments, message in (
        ((x, [x], 0.0), "dt must be finite and > 0, got 0.0"),
        ((x, [], 0.1), "controls must hold at least one matrix, got none"),
        ((x[:1], [x], 0.1), r"drift must be a square matrix, got shape \(1, 2\)"),
        ((x, [np.eye(3)], 0.1), r"controls\[0\] must have shape \(2, 2\), got \(3, 3\)"),
        ((x * np.nan, [x], 0.1), "drift must be finite"),
        ((x, [q.lowering(2)], 0.1), r"controls\[0\] must be Hermitian, got an antihermitian"),
    ):
        with pytest.raises(ValueError, match=message):
            q.few_levels(*arguments)
    step = q.few_levels(x, [x], 0.1)
    with pytest.raises(ValueError, match=r"state must have shape \(2,\), or \(2, m\)"):
        step(jnp.ones(3) + 0j, jnp.ones(1))
    with pytest.raises(ValueError, match="state must be complex, of dtype complex128"):
        step(jnp.ones(2), jnp.ones(1))
    with pytest.raises(ValueError, match="levels must be an integer >= 2, got 1"):
        q.lowering(1)
    with pytest.raises(ValueError, match=r"upper must be another level of 0\.\.2, got 3"):
        q.transition(3, 0, 3)
    with pytest.raises(ValueError, match="a value at least every width = 0.5, their distance is 5"):
        q.FilteredPulse(jnp.ones((5, 1)), 20.0, 0.5, 0.0, q.WithinBox(1.0))
    with pytest.raises(ValueError, match="duration must be finite and > 0"):
        q.HeldPulse(jnp.ones((5, 1)), 0.0, q.WithinBox(1.0))
