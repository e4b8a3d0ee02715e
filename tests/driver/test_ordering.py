# SPDX-License-Identifier: Apache-2.0
"""A register that acts on the hardware's state is written after the commands before it, also inside a batch."""

from collections.abc import Callable

import numpy as np
import pytest

from gicmodel.driver import GicDriver, ItsDevice, ItsVpe, commands
from gicmodel.layouts.registers.redistributor import GICR_SYNCR
from tests.driver.host import Host

Operation = Callable[[GicDriver, ItsDevice, ItsVpe], object]


def deschedule(driver: GicDriver, _: ItsDevice, vpe: ItsVpe) -> None:
    driver.vpes.schedule(vpe, 0)
    driver.gic.its[0].send(commands.sync(0))
    driver.vpes.deschedule(vpe, doorbell=True)


def mask_doorbell(driver: GicDriver, device: ItsDevice, vpe: ItsVpe) -> None:
    deschedule(driver, device, vpe)
    driver.gic.its[0].send(commands.sync(0))
    driver.vpes.schedule(vpe, 0)


OPERATIONS: list[tuple[str, str, Operation]] = [
    ("4.1", "GICR_INVLPIR", lambda driver, device, _: driver.lpis.mask(device, 1)),
    ("4.1", "GICR_INVLPIR", lambda driver, device, _: driver.vlpis.prop_update(device, 0, 0xA3)),
    ("4.1", "GICR_INVALLR", lambda driver, _, vpe: driver.vpes.invall(vpe)),
    ("4.1", "GICR_VPENDBASER", lambda driver, _, vpe: driver.vpes.schedule(vpe, 0)),
    ("4.1", "GICR_VPENDBASER", deschedule),
    ("4.1", "GICR_VSGIR", lambda driver, _, vpe: driver.vsgis.get_pending(vpe, 0)),
    ("4.1", "GITS_SGIR", lambda driver, _, vpe: driver.vsgis.set_pending(vpe, 0, True)),
    ("4.0", "GICR_INVLPIR", mask_doorbell),
    ("4.0", "GICR_CLRLPIR", lambda driver, _, vpe: driver.vpes.set_affinity(vpe, 1)),
]


@pytest.mark.parametrize(("architecture", "register", "operation"), OPERATIONS)
@pytest.mark.parametrize("steps", [None, 1])
def test_commands_come_first(architecture: str, register: str, operation: Operation, steps: int | None) -> None:
    host = Host(architecture=architecture, commands_per_step=steps)
    device = host.driver.lpis.create_device(1, 2)
    host.driver.lpis.activate(device, np.arange(2))
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vlpis.map(device, 0, vpe.vm, 0, 8200, 0xA3)
    host.writes()
    with host.driver.gic.batch():
        host.driver.gic.its[0].send(commands.sync(0))
        operation(host.driver, device, vpe)
        order = [write.register for write in host.writes("GITS_CWRITER", register)]
        assert order[-2:] == ["GITS_CWRITER", register]
        assert host.its("GITS_CREADR") == host.its("GITS_CWRITER")
        assert not GICR_SYNCR.unpack(host.rd("GICR_SYNCR"))["Busy"], "the reload is complete"
