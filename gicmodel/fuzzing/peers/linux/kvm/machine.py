# SPDX-License-Identifier: Apache-2.0
"""Virtual machines that both KVMs can have, what may happen to them, and how that is written.

vm architecture=4.1 vcpus=4 its=1 vsgis=0

boot
rd_write rd=0 offset=0x70 value=0x4005000f size=8
MAPD its=0 Size=0x3 ITT_addr=0x400c0000 V=1 DeviceID=0x0
save_tables its=0
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from gicmodel.config import ARCHITECTURES
from gicmodel.fuzzing.programs.program import Machine, Step, assignments, number, within
from gicmodel.layouts.lpi_tables import VSGIS

RAM_BASE, RAM_BYTES = 0x4000_0000, 0x21_0000
RAM_END = RAM_BASE + RAM_BYTES
MOST_VCPUS, MOST_ITSS = 16, 2
HOST_IRQS = 16
"""Events of one device of the host, which may be forwarded."""

_WORD, _HALF, _FLAG = range(1 << 64), range(1 << 32), range(2)


@dataclass(frozen=True)
class VirtualMachine(Machine):
    """A VM on a host whose GIC is of `architecture`; `vsgis`: a GICv4.1's CPU interfaces have virtual SGIs.

    What happens to it are operations of a guest, of userspace and of devices.
    `create` makes a VM and leaves it to userspace what its GIC has, which `initialise` ends; `boot` is both. A command
    is executed by itself, and the reason for which KVM drops it is compared; `enqueue` writes one into the queue in
    guest RAM, and `ring` gives all of them to the ITS.
    """

    architecture: str
    vcpus: int
    its: int
    vsgis: bool

    events: ClassVar[dict[str, tuple[str, ...]]] = {
        "boot": (),
        "create": (),
        "initialise": (),  # KVM_DEV_ARM_VGIC_CTRL_INIT
        "poke": ("address", "value"),  # the guest stores 64 bits; nothing happens outside RAM
        "poke_byte": ("address", "byte"),
        "fill": ("address", "bytes", "byte"),  # stores of so many bytes
        "enqueue": ("its", "word0", "word1", "word2", "word3"),
        "ring": ("its",),
        "its_write": ("its", "offset", "value", "size"),
        "its_read": ("its", "offset", "size"),
        "rd_write": ("rd", "offset", "value", "size"),
        "rd_read": ("rd", "offset", "size"),
        "dist_write": ("offset", "value", "size"),
        "dist_read": ("offset", "size"),
        "its_user_write": ("its", "attribute", "value"),  # KVM_SET_DEVICE_ATTR
        "its_user_read": ("its", "attribute"),  # KVM_GET_DEVICE_ATTR
        "rd_user_write": ("rd", "offset", "word"),
        "rd_user_read": ("rd", "offset"),
        "dist_user_write": ("offset", "word"),
        "dist_user_read": ("offset",),
        "save_tables": ("its",),  # KVM_DEV_ARM_ITS_SAVE_TABLES
        "restore_tables": ("its",),  # KVM_DEV_ARM_ITS_RESTORE_TABLES
        "reset": ("its",),  # KVM_DEV_ARM_ITS_CTRL_RESET
        "save_pending_tables": ("lpi_by_lpi",),  # KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES; the model has two ways
        "msi": ("its", "DeviceID", "EventID"),  # KVM_SIGNAL_MSI
        "send_sgi": ("vcpu", "SGI"),  # a vCPU writes ICC_SGI1R_EL1
        "sync": ("vcpu",),  # a vCPU leaves its guest for a moment
        "take": ("vcpu",),  # a vCPU takes all that software has to deliver to it: INTIDs, ascending
        "load": ("vcpu",),  # a vCPU that is out begins to run
        "put": ("vcpu", "wfi"),  # a vCPU that runs stops
        "forward": ("its", "DeviceID", "EventID", "irq"),  # an MSI route and a host interrupt belong together
        "unforward": ("irq",),  # they do not any more
        "change_route": ("its", "DeviceID", "EventID", "irq"),  # the route of a host interrupt leads elsewhere
        "device_event": ("irq",),  # a device raises it: whether it feeds a vLPI, or is the host's
    }
    names: ClassVar[tuple[str, ...]] = (
        *("DeviceID", "EventID", "ICID", "RDbase", "pINTID", "rd", "vcpu", "irq", "SGI", "its"),
    )
    simplified: ClassVar[tuple[str, ...]] = ("Size",)
    counts_events = True

    @property
    def command_set(self) -> str:
        """The virtual GIC is a GICv3 whatever the host's is."""
        return "3"

    def limits(self) -> dict[str, range]:
        """What is no number of something may be anything."""
        return {
            **{"its": range(self.its), "rd": range(self.vcpus), "vcpu": range(self.vcpus)},
            **{"irq": range(HOST_IRQS), "SGI": range(VSGIS), "byte": range(256), "bytes": range(RAM_BYTES + 1)},
            **{"offset": range(0x2_0000), "size": range(1, 9), "wfi": _FLAG, "lpi_by_lpi": _FLAG},
            **dict.fromkeys(("DeviceID", "EventID", "word"), _HALF),
            **dict.fromkeys(("address", "attribute", "value", "word0", "word1", "word2", "word3"), _WORD),
        }

    def describe(self) -> Iterator[list[str]]:
        """All there is to say."""
        size = f"vcpus={self.vcpus}", f"its={self.its}"
        yield ["vm", f"architecture={self.architecture}", *size, f"vsgis={int(self.vsgis)}"]

    @classmethod
    def described(cls, line: Callable[[str], list[str]]) -> Self:
        """A virtual machine."""
        known = {"vcpus": range(1, MOST_VCPUS + 1), "its": range(1, MOST_ITSS + 1), "vsgis": _FLAG}
        texts = dict(assignments(line("vm"), ("architecture", *known)))
        if len(texts) <= len(known):
            raise ValueError(f"vm needs architecture, {', '.join(known)}")
        architecture = texts["architecture"]
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture={architecture!r:.60} is not one of {', '.join(ARCHITECTURES)}")
        vcpus, its, vsgis = (within(name, number(texts[name]), allowed) for name, allowed in known.items())
        return cls(architecture, vcpus, its, bool(vsgis))

    def simpler(self, steps: Sequence[Step]) -> Iterator[Self]:
        """A host without vLPIs, without vSGIs; fewer ITSs; fewer vCPUs."""
        if self.vsgis:
            yield replace(self, vsgis=False)
        if self.architecture != "3":
            yield replace(self, architecture="3", vsgis=False)
        if self.its > 1:
            yield replace(self, its=1)
        for vcpus in range(1, self.vcpus):
            yield replace(self, vcpus=vcpus)
