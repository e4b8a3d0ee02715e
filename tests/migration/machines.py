# SPDX-License-Identifier: Apache-2.0
"""Hosts and VMs for tests, and what a guest does to its LPIs."""

from gicmodel.config import GicConfig
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION
from gicmodel.layouts.registers.by_name import register
from gicmodel.migration import Host, Migration, new_virtual_machine
from gicmodel.migration.machine import pending_interrupts
from gicmodel.migration.steps import no_progress

ENABLED, DISABLED = (LPI_CONFIGURATION.pack(Priority=0xA0, Enable=enable) for enable in (1, 0))

FLAT = {"device_id_bits": 8, "vpe_id_bits": 8}
"""Tables so small that they have one level: two-level ones keep the pages that they once needed, as in Linux."""


def new_host(name="host", cpus=2, **choices):
    return Host(name, GicConfig(redistributors=cpus, **choices))


def new_vm(vcpus=2, devices=1, vectors=2, host=None):
    """A VM whose event e of all goes to vCPU e modulo the number of them; those of a device have INTIDs in a row."""
    return new_virtual_machine(host or new_host("source"), vcpus, devices, vectors)


def migrate(vm, destination=None, progress=no_progress):
    """Move the VM to `destination`, by default a host like its own; what it is there."""
    migration = Migration(vm, destination or new_host("destination", cpus=vm.host.cpus), progress)
    migration.run()
    return migration.target


def fire_all(vm):
    """Every device raises every interrupt."""
    for device in vm.devices:
        device.fire(range(len(device.events)))


def expected(vcpus, intids):
    """(vCPU, INTID) of a guest with one device, or with a power of two of vectors each: no INTID is left out."""
    return sorted(((intid - 8192) % vcpus, intid) for intid in intids)


def configure(vm, intid, octet):
    """The guest writes an LPI's configuration byte and has it reloaded (GICR_INVLPIR)."""
    vm.memory.write_u8(vm.vgic.dist.configuration_table + intid - FIRST_LPI, octet)
    vm.vgic.redistributors[vm.vgic.lpis[intid].target_vcpu].write(register("GICR_INVLPIR").offset, intid)


def pending_lpis(vm):
    """Of what is pending, the LPIs."""
    return {(vcpu, intid) for vcpu, intid in pending_interrupts(vm) if intid >= FIRST_LPI}


def pending_sgis(vm):
    """Of what is pending, the SGIs."""
    return {(vcpu, intid) for vcpu, intid in pending_interrupts(vm) if intid < 16}


def resources(host):
    """What of a host is free or mapped: RAM, LPIs, vPEIDs, devices."""
    driver = host.driver
    return (
        driver.gic.allocator.free_bytes,
        driver.lpis.intids.free,
        driver.vpes.ids.free,
        sorted(driver.lpis.devices),
    )
