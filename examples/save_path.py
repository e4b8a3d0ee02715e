# SPDX-License-Identifier: Apache-2.0
"""The save path, byte for byte: VPT in the host's RAM, pending table in the guest's."""

from gicmodel.config import GicConfig
from gicmodel.migration import Host, new_virtual_machine

host = Host("host", GicConfig(redistributors=2))
vm = new_virtual_machine(host, vcpus=2, devices=1, vectors=32)
vm.run_vcpus()
vm.devices[0].fire([1, 4, 5, 7, 10, 15])
vm.pause_vcpus()

vpts = [vpe.vpt_page + 0x400 for vpe in vm.vgic.its_vm.vpes]
tables = [table + 0x400 for table in vm.vgic.dist.pending_tables]


def show(when: str) -> None:
    """The first eight bytes of both vCPUs' tables that hold LPIs."""
    for vcpu in range(2):
        host_bytes, guest_bytes = host.memory.read(vpts[vcpu], 8).hex(" "), vm.memory.read(tables[vcpu], 8).hex(" ")
        print(f"{when}: vCPU {vcpu}: VPT {host_bytes}   guest {guest_bytes}")


show("interrupts raised  ")
vm.vgic.unmap_all_vpes()
show("vPEs unmapped      ")
vm.vgic.map_all_vpes()
vm.vgic.save_pending_tables()
show("pending tables saved")
