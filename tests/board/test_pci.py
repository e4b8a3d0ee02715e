# SPDX-License-Identifier: Apache-2.0
"""The board's PCI function as software finds and uses it: sizes of BARs, MSI-X messages, masks, reset."""

import pytest

from tests.conftest import needed

needed("fdt")

from gicmodel.board.pci import PBA, RAISE, REGISTERS, TABLE, Ecam, Msix, Window

WINDOW = 0x1000_0000
COMMAND, BAR0, MSIX = 0x04, 0x10, 0x80
ENABLE, MASK = 1 << 15, 1 << 14


@pytest.fixture
def sent():
    return []


@pytest.fixture
def function(sent):
    return Msix(1, 16, lambda *message: sent.append(message))


@pytest.fixture
def window(function):
    return Window(WINDOW, 0x10_0000, [function])


@pytest.fixture
def ecam(window):
    return Ecam(0x3F00_0000, window, "its", "smmu")


def ready(function, window, ecam, vectors=16):
    """As a driver leaves it: BARs placed, MSI-X on, each vector n with address 0x8090040 and data n."""
    at = function.requester_id << 12
    for bar in (REGISTERS, TABLE):
        ecam.write(at + BAR0 + 4 * bar, WINDOW + 0x1000 * bar, 4)
    ecam.write(at + COMMAND, 6, 2)
    ecam.write(at + MSIX + 2, ENABLE, 2)
    for vector in range(vectors):
        for place, value in ((0, 0x0809_0040), (4, 0), (8, vector), (12, 0)):
            window.write(0x1000 + 16 * vector + place, value, 4)


def test_there_is_one_function(ecam):
    assert ecam.read(0x8 << 12, 4) == 0x5678_1234
    assert ecam.read(0, 4) == 0xFFFF_FFFF
    assert ecam.read(0x8 << 12 | 0x34, 1) == 0x40


@pytest.mark.parametrize("bar", [0, 1])
def test_a_bar_tells_its_size(ecam, bar):
    at = 0x8 << 12 | BAR0 + 4 * bar
    ecam.write(at, 0xFFFF_FFFF, 4)
    assert ecam.read(at, 4) == 0xFFFF_F000


def test_a_raised_vector_is_a_message(function, window, ecam, sent):
    ready(function, window, ecam)
    window.write(RAISE, 5, 4)
    assert sent == [(0x8, 0x0809_0040, 5)]


@pytest.mark.parametrize("how", ["vector", "function"])
def test_a_masked_vector_waits(function, window, ecam, sent, how):
    ready(function, window, ecam)
    if how == "vector":
        window.write(0x1000 + 16 * 3 + 12, 1, 4)
    else:
        ecam.write((0x8 << 12) + MSIX + 2, ENABLE | MASK, 2)
    function.raise_vector(3)
    assert (sent, window.read(0x1000 + PBA, 4)) == ([], 1 << 3)
    if how == "vector":
        window.write(0x1000 + 16 * 3 + 12, 0, 4)
    else:
        ecam.write((0x8 << 12) + MSIX + 2, ENABLE, 2)
    assert (sent, window.read(0x1000 + PBA, 4)) == ([(0x8, 0x0809_0040, 3)], 0)


@pytest.mark.parametrize("off", ["MSI-X", "bus master"])
def test_without_either_there_is_no_message(function, window, ecam, sent, off):
    ready(function, window, ecam)
    ecam.write((0x8 << 12) + (MSIX + 2 if off == "MSI-X" else COMMAND), 0 if off == "MSI-X" else 2, 2)
    function.raise_vector(3)
    assert sent == []


@pytest.mark.parametrize("vector", [16, 127, 0xFFFF_FFFF])
def test_there_is_no_other_vector(function, window, ecam, sent, vector):
    ready(function, window, ecam)
    window.write(RAISE, vector, 4)
    assert (sent, window.read(0x1000 + PBA, 4)) == ([], 0)


def test_a_function_level_reset_forgets(function, window, ecam, sent):
    ready(function, window, ecam)
    ecam.write((0x8 << 12) + 0x48, 1 << 15, 2)
    assert ecam.read((0x8 << 12) + COMMAND, 2) == 0
    assert list(function.bars()) == []
    ready(function, window, ecam, vectors=0)
    function.raise_vector(3)
    assert (sent, window.read(0x1000 + 12, 4)) == ([], 1)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("offset", [0x0, 0x800, 0x5000, 0xF_FFFC])
def test_nothing_is_all_ones_or_zero_and_takes_any_write(window, ecam, offset, size):
    assert window.read(offset, size) == (1 << 8 * size) - 1
    window.write(offset, -1 & (1 << 8 * size) - 1, size)
    ecam.write(offset, 0, size)


def test_its_state_is_taken_back(function, window, ecam, sent):
    ready(function, window, ecam)
    window.write(0x1000 + 16 * 3 + 12, 1, 4)
    function.raise_vector(3)
    other = Msix(1, 16, lambda *message: sent.append(message))
    other.restore(function.state())
    assert other.state() == function.state()
    other.write(TABLE, 16 * 3 + 12, 0, 4)
    assert sent == [(0x8, 0x0809_0040, 3)]


@pytest.mark.parametrize(
    "damage", [{"space": "00"}, {"table": ""}, {"pending": 1 << 16}, {"pending": -1}, {"space": "x"}]
)
def test_a_state_of_another_function_is_refused(function, damage):
    with pytest.raises(ValueError):  # noqa: PT011
        function.restore(function.state() | damage)
