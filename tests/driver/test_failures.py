# SPDX-License-Identifier: Apache-2.0
"""An ITS that stalls in the middle of an operation: what the driver has begun with the other ITSs is undone."""

import pytest

from gicmodel.driver import DriverError, ItsVm, commands
from gicmodel.layouts.commands import INT
from tests.driver.host import Host

BAD = commands.command(INT, DeviceID=9)
"""No ITS has device 9: a GIC that stalls on errors stops here for good."""


def stall(host: Host, its: int) -> None:
    with pytest.raises(DriverError, match="EIO"):
        host.driver.gic.its[its].send(BAD)


def vmapps(host: Host, its: int) -> list[str]:
    """The V fields of the VMAPPs that an ITS was sent."""
    fields = [line.split() for line in host.commands(its) if line.startswith("VMAPP ")]
    return [field for line in fields for field in line if field.startswith("V=")]


@pytest.mark.parametrize("stalled", [0, 1])
def test_a_batch_that_cannot_be_flushed_holds_no_its(stalled: int) -> None:
    host = Host(its=2)

    def batch() -> None:
        with host.driver.gic.batch():
            host.driver.gic.its[stalled].send(BAD)
            host.driver.gic.its[1 - stalled].send(commands.sync(2))

    with pytest.raises(DriverError, match=f"EIO: ITS {stalled} stalled"):
        batch()
    assert host.commands(1 - stalled) == ["SYNC RDbase=0x2"]
    host.driver.gic.its[1 - stalled].send(commands.sync(3))
    assert host.commands(1 - stalled) == ["SYNC RDbase=0x3"]


def with_vm(stalled: int, **choices: object) -> tuple[Host, ItsVm]:
    """Two ITSs, a VM of two vPEs, and one of the ITSs stalled."""
    host = Host(its=2, **choices)  # type: ignore[arg-type]
    vm = host.driver.vpes.create_vm(2)
    host.words(0), host.words(1)
    stall(host, stalled)
    host.words(stalled)
    return host, vm


@pytest.mark.parametrize("stalled", [0, 1])
def test_a_vpe_is_unmapped_on_every_its_or_on_none(stalled: int) -> None:
    host, vm = with_vm(stalled)
    with pytest.raises(DriverError, match="EIO"):
        host.driver.vpes.deactivate(vm.vpes[0])
    assert vm.vpes[0].vmapp_count == 2
    assert vmapps(host, 1 - stalled) in ([], ["V=0", "V=1"])


@pytest.mark.parametrize("stalled", [0, 1])
def test_a_vpe_is_mapped_on_every_its_or_on_none(stalled: int) -> None:
    host = Host(its=2)
    vm = host.driver.vpes.create_vm(2)
    host.driver.vpes.deactivate(vm.vpes[0])
    host.words(0), host.words(1)
    stall(host, stalled)
    with pytest.raises(DriverError, match="EIO"):
        host.driver.vpes.activate(vm.vpes[0])
    assert vm.vpes[0].vmapp_count == 0
    assert vmapps(host, 1 - stalled) in ([], ["V=1", "V=0"])


def test_a_device_that_could_not_be_mapped_is_not_there() -> None:
    host = Host(its=2)
    free = host.driver.lpis.intids.free
    stall(host, 0)
    with pytest.raises(DriverError, match="EIO"):
        host.driver.lpis.create_device(1, 4, its=0)
    assert (host.driver.lpis.devices, host.driver.lpis.intids.free) == ({}, free)
