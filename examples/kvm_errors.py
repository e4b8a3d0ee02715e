# SPDX-License-Identifier: Apache-2.0
"""KVM restores a guest's tables: what it refuses, with Linux's errno and the reason."""

from gicmodel.config import GicConfig
from gicmodel.kvm import KvmError
from gicmodel.layouts.kvm_abi import KVM_ITE
from gicmodel.migration import Host, VirtualMachine, new_virtual_machine, state

CONFIG = GicConfig(redistributors=2)
vm = new_virtual_machine(Host("host", CONFIG), vcpus=2, devices=1, vectors=4)
for its in vm.vgic.its:
    its.save_tables()
registers = state.guest_registers(vm.vgic)

device = vm.devices[0].guest_device_id
itt = vm.vgic.its[0].devices[device].itt_addr
saved = vm.memory.read_u64(itt)
print("ITE of event 0:", {name: hex(value) for name, value in KVM_ITE.unpack(saved).items()})

for change in ({}, {"ICID": 77}, {"pINTID": 1}, {"next": 0xFFF}):
    vm.memory.write_u64(itt, KVM_ITE.pack(**KVM_ITE.unpack(saved) | change))
    again = VirtualMachine(Host("another host", CONFIG), vm.memory, vm.vcpus)
    state.restore_redistributors(again.vgic, registers)
    state.restore_its_registers(again.vgic, registers)
    try:
        state.restore_its_tables(again.vgic, registers)
        print(change, "is restored")
    except KvmError as error:
        print(change, error)
