"""Molecules at two levels of theory: the published files, and damaged ones."""

import numpy as np
import pytest

from jaxpbdl.checks import DataError
from jaxpbdl.data.two_levels import read_ccsd_mp2, read_qm7, without

GOOD = "2\nMP2_energy_Ha=-1.0 CCSD_energy_Ha=-1.1\nH 0 0 0\nO 0 0 0.97\n"


def test_qm7(real_data):
    data = read_qm7(real_data("delta-qm7/qm7_pbe0_dftb3.npz"))
    assert len(data.numbers) == 7101 and data.elements == (1, 6, 7, 8, 16)
    assert data.energies.std() == pytest.approx(223.2, abs=0.1)
    assert (data.energies - data.baseline).std() == pytest.approx(46.8, abs=0.1)
    left = without(16, data)
    assert left.elements == (1, 6, 7, 8) and 6700 < len(left.numbers) < 7101


def test_ccsd(real_data):
    data = read_ccsd_mp2(real_data("delta-qm7/showcase-mp2-ccsd-energy.xyz"))
    assert len(data.numbers) == 52 and np.sum(data.numbers == 1) == 660
    assert data.energies[0] == pytest.approx(-541.202284522782179 * 627.5095, rel=1e-6)


def test_an_xyz_file(tmp_path):
    path = tmp_path / "two.xyz"
    path.write_text(GOOD + GOOD.replace("2\nMP2", "1\nMP2").replace("O 0 0 0.97\n", ""))
    data = read_ccsd_mp2(path)
    np.testing.assert_array_equal(data.numbers, [[1, 8], [1, 0]])
    np.testing.assert_array_equal(data.counts(), [[1, 1], [1, 0]])


@pytest.mark.parametrize(
    "text, message",
    [
        (GOOD.replace("CCSD", "CASPT2"), "molecule 0, line 1: damaged"),
        (GOOD + "2\nMP2_energy_Ha=-1 CCSD_energy_Ha=-1\nH 0 0 0\n", "molecule 1, line 5"),
        (GOOD.replace("O 0", "Xx 0"), "molecule 0"),
        (GOOD.replace("0.97", "near"), "molecule 0"),
        ("", "no molecules"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    (tmp_path / "bad.xyz").write_text(text)
    with pytest.raises(DataError, match=message):
        read_ccsd_mp2(tmp_path / "bad.xyz")
