# SPDX-License-Identifier: Apache-2.0
"""vSGIs: configuration and pending state by commands and registers."""

import pytest

from gicmodel.driver import DriverError
from tests.driver.host import Host


def test_configuration_is_one_vsgi_and_a_vsync(host: Host) -> None:
    vpe = host.driver.vpes.create_vm(2).vpes[1]
    host.words()
    host.driver.vsgis.configure(vpe, 6, enable=True, group=1, priority=0xA0)
    assert host.commands() == [
        "VSGI Enable=1 Clear=0 Group=1 Priority=0xa vINTID=0x6 vPEID=0x1",
        "VSYNC vPEID=0x1",
    ]
    assert (vpe.sgi_config[6].enabled, vpe.sgi_config[6].group, vpe.sgi_config[6].priority) == (True, 1, 0xA0)


@pytest.mark.parametrize("steps", [None, 3])
def test_pending_state_is_set_queried_and_cleared(steps: int | None) -> None:
    host = Host(commands_per_step=steps)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vpes.set_affinity(vpe, 2)
    host.driver.vsgis.configure(vpe, 3, enable=True, group=1, priority=0x40)
    host.words()
    host.driver.vsgis.set_pending(vpe, 3, True)
    assert host.commands() == [], "GITS_SGIR is a register"
    assert [host.driver.vsgis.get_pending(vpe, vintid) for vintid in range(5)] == [False, False, False, True, False]
    host.driver.vsgis.set_pending(vpe, 3, False)
    assert host.commands() == ["VSGI Enable=1 Clear=1 Group=1 Priority=0x4 vINTID=0x3 vPEID=0x0", "VSYNC vPEID=0x0"]
    assert not host.driver.vsgis.get_pending(vpe, 3)


def test_a_vsgi_is_delivered_to_a_resident_vpe(host: Host) -> None:
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vsgis.configure(vpe, 15, enable=True, group=1, priority=0x40)
    host.driver.vpes.schedule(vpe, 0)
    with host.driver.gic.batch():
        host.driver.vsgis.configure(vpe, 15, enable=True, group=1, priority=0x80)
        host.driver.vsgis.set_pending(vpe, 15, True)
    assert host.gic.redistributors[0].cpu.acknowledge_virtual() == 15


def test_deactivation_takes_two_commands(host: Host) -> None:
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    host.driver.vsgis.configure(vpe, 3, enable=True, group=1, priority=0x40)
    host.driver.vsgis.set_pending(vpe, 3, True)
    host.words()
    host.driver.vsgis.deactivate(vpe, 3)
    assert host.commands() == [
        "VSGI Enable=0 Clear=0 Group=1 Priority=0x4 vINTID=0x3 vPEID=0x0",
        "VSYNC vPEID=0x0",
        "VSGI Enable=0 Clear=1 Group=1 Priority=0x4 vINTID=0x3 vPEID=0x0",
        "VSYNC vPEID=0x0",
    ]
    assert not host.driver.vsgis.get_pending(vpe, 3)


@pytest.mark.parametrize(("architecture", "vintid"), [("4.1", 16), ("4.1", -1), ("4.0", 0)])
def test_a_vsgi_that_does_not_exist_is_refused(architecture: str, vintid: int) -> None:
    host = Host(architecture=architecture)
    vpe = host.driver.vpes.create_vm(1).vpes[0]
    for operation in (
        lambda: host.driver.vsgis.configure(vpe, vintid, True, 1, 0),
        lambda: host.driver.vsgis.set_pending(vpe, vintid, True),
        lambda: host.driver.vsgis.get_pending(vpe, vintid),
        lambda: host.driver.vsgis.deactivate(vpe, vintid),
    ):
        with pytest.raises(DriverError, match=f"EINVAL: vPE 0 has no vSGI {vintid}"):
            operation()
