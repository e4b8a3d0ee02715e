# SPDX-License-Identifier: Apache-2.0
"""A monitor of one's own: pending state is checked, device by device, before the destination runs."""

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.migration import Host, Migration, Step, new_virtual_machine


def check_pending(migration: Migration) -> None:
    """What the source had pending, the destination has; from the tables that both write."""
    for vm in (migration.source, migration.target):
        vm.vgic.save_pending_tables()
    for vcpu, table in enumerate(migration.source.vgic.dist.pending_tables):
        before, after = (
            np.frombuffer(vm.memory.read(table + 0x400, 0x1C00), np.uint8)
            for vm in (migration.source, migration.target)
        )
        print(f"vCPU {vcpu}: {np.unpackbits(before).sum()} pending before, {np.unpackbits(after).sum()} after")


source, destination = (Host(name, GicConfig(redistributors=2)) for name in ("source", "destination"))
vm = new_virtual_machine(source, vcpus=2, devices=2, vectors=16)
vm.run_vcpus()
for device in vm.devices:
    device.fire(range(0, 16, 3))

migration = Migration(vm, destination)
resume = [step.name for step in migration.plan].index("resume devices")
migration.plan = (*migration.plan[:resume], Step("check pending", check_pending), *migration.plan[resume:])
migration.run()
print("taken by the guest:", len(list(migration.target.deliver())))
