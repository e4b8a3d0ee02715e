# SPDX-License-Identifier: Apache-2.0
"""No RAM and no register write raises an exception, loops for ever, or reaches outside the model's arrays.

CI runs this once more with NUMBA_BOUNDSCHECK=1. That check, like NumPy, takes a negative index for one from the end;
the Python engine therefore runs with arrays that refuse it.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gicmodel.config import GicConfig
from gicmodel.hardware import gic as gic_module
from gicmodel.hardware.kernels.state import Machine, new_machine
from gicmodel.jit import COMPILED
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER
from gicmodel.memory import PAGE_BYTES, GuestMemory
from tests.hardware.bench import Bench, furnished
from tests.hardware.hostile import CONFIGS, actions


class Strict(np.ndarray):
    """An array that has no negative indices."""

    def __getitem__(self, index):
        return super().__getitem__(checked(index))

    def __setitem__(self, index, value):
        super().__setitem__(checked(index), value)


def checked(index):
    for part in index if isinstance(index, tuple) else (index,):
        if not isinstance(part, slice) and part < 0:
            raise IndexError(f"index {part} is negative")
    return index


@pytest.fixture(autouse=True, scope="module")
def strict_machine():
    """On the Python engine the arrays of every new machine are `Strict`."""
    if COMPILED:
        yield
        return

    def strict(config: GicConfig, memory: GuestMemory) -> Machine:
        return Machine(*(array.view(Strict) for array in new_machine(config, memory)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gic_module, "new_machine", strict)
        yield


@pytest.mark.skipif(COMPILED, reason="machine code takes NumPy's own arrays")
@pytest.mark.parametrize("index", [-1, (0, -1), np.int64(-3)])
def test_negative_indices_are_refused(index):
    with pytest.raises(IndexError, match="is negative"):
        Bench(boot=False).gic.machine.slots[index]


def everything(choices: dict[str, object]) -> Bench:
    """Events 0 to 2 are LPIs, events 8 to 10 vLPIs of vPEs 0 to 2, of which the first is resident."""
    bench = furnished(**choices)
    for event in range(3):
        bench.map_lpi(event, FIRST_LPI + event, icid=event % 2)
    if bench.config.virtual:
        for vpe_id in range(3):
            bench.map_vpe(vpe_id, vpe_id % 2)
            bench.map_vlpi(8 + vpe_id, FIRST_LPI + vpe_id, vpe_id)
        bench.schedule()
    return bench


def act(bench: Bench, kind: str, rest: tuple) -> None:
    """One action of `hostile.actions`."""
    gic = bench.gic
    if kind == "commands":
        for words in rest[1]:
            bench.queue_words(words, rest[0])
        bench.ring(rest[0], retry=1)
    elif kind == "poke":
        bench.memory.write(*rest)
    elif kind == "its":
        gic.its[rest[0]].write(*rest[1])
    elif kind == "rd":
        gic.redistributors[rest[0]].write(*rest[1])
    elif kind == "translate":
        gic.its[rest[0]].translate(rest[1], rest[2])
    elif kind == "restart its":
        bench.enable_its(False, rest[0])
        gic.step()
        bench.enable_its(rest[1], rest[0])
    elif kind == "restart lpis":
        bench.enable_lpis(False, rest[0])
        gic.step()
        bench.enable_lpis(rest[1], rest[0])
    elif kind == "cpu":
        take(bench, *rest)
    elif bench.config.virtual:
        groups = {"VGrp0En": 1, "VGrp1En": 1}
        value = GICR_VPENDBASER.pack(Valid=rest[2], vPEID=rest[1] & 0xFFFF, Doorbell=1, **groups)
        bench.write_rd("VPENDBASER", value, rest[0])


def take(bench: Bench, rd: int, intid: int) -> None:
    """A PE looks, takes what comes next, and takes one out of turn."""
    cpu = bench.gic.redistributors[rd].cpu
    assert cpu.pending() == cpu.acknowledge()
    assert cpu.pending_virtual() == cpu.acknowledge_virtual()
    cpu.take(intid)
    cpu.take_virtual(intid)


@settings(suppress_health_check=list(HealthCheck))
@given(st.data())
def test_hostile_software(data):
    bench = everything(data.draw(CONFIGS))
    before = bench.memory.octets.copy()
    for kind, rest in data.draw(actions(bench)):
        act(bench, kind, rest)
        bench.gic.step()
    for face in (*bench.gic.its, *bench.gic.redistributors):
        for offset in (*range(0, 0x140, 4), 0x2_0070, 0x2_0078, 0x2_0088):
            face.read(offset, 4)
    changed = (bench.memory.octets != before).reshape(-1, PAGE_BYTES).any(axis=1)
    assert bench.memory.page_state[changed].all(), "a page was written and not marked"
