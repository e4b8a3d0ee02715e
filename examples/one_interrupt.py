# SPDX-License-Identifier: Apache-2.0
"""One vLPI, from the device's write to the bit in the Virtual Pending Table."""

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.hardware import Gic, observe
from gicmodel.memory import GuestMemory

memory = GuestMemory(0x8000_0000, 1 << 30)
gic = Gic(GicConfig(redistributors=2), memory)
driver = GicDriver(gic, PageAllocator(memory, memory.base, memory.end))
driver.probe()

vm = driver.vpes.create_vm(nr_vpes=1)
vpe = vm.vpes[0]
device = driver.lpis.create_device(0x42, 8)
driver.lpis.activate(device, 3)
driver.vlpis.map(device, 3, vm, 0, 8200, 0xA1)

gic.its[0].translate(device_id=0x42, event_id=3)
print("pending, wherever it is held:", observe.pending_virtual(gic, vpe.vpt_page, 16).tolist())
print("byte of the VPT in RAM:", memory.read_u8(vpe.vpt_page + 8200 // 8))

driver.vpes.deactivate(vpe)  # VMAPP {V,Alloc} = {0,1}
print("after the vPE is unmapped:", memory.read_u8(vpe.vpt_page + 8200 // 8))
