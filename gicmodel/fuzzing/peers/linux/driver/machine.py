# SPDX-License-Identifier: Apache-2.0
"""Hosts with a GIC of their own, what may happen to them, and how that is written.

config architecture=4.1 its=2 caching=retain
host commands_per_step=1 late=0

boot
add_device its=0 DeviceID=0x10 vectors=4
request its=0 DeviceID=0x10 EventID=2
raise its=0 DeviceID=0x10 EventID=2
interrupts
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

from gicmodel.config import GicConfig
from gicmodel.fuzzing.programs.hardware import choices_of, config_of
from gicmodel.fuzzing.programs.program import Event, Machine, Step, numbers
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS

MOST_VMS, MOST_VCPUS, MOST_VECTORS, MOST_COMMANDS, MOST_POLLS = 4, 8, 16, 16, 64
_FLAG = range(2)
EventKey = tuple[int, int, int]
"""ITS, DeviceID, EventID."""
VpeKey = tuple[int, int]
"""VM, vCPU."""
_EVENT = ("its", "DeviceID", "EventID")
_VPE = ("vm", "vcpu")
_DEFAULTS = GicConfig()
_DEFAULTED = ("its", "redistributors", "svpet", "common_lpi_aff", "pta", "vmovp", "table_cache_lines", "vpt_writeback")


@dataclass(frozen=True)
class HostMachine(Machine):
    """A host: its GIC; `late`: commands have no effect before their SYNC (`lab.late`).

    What happens to it are operations of its kernel, its hypervisor and its devices.
    `meanwhile` is a message that comes while the driver waits for hardware in the operation that follows, after so many
    polls, or at its end.
    """

    config: GicConfig
    late: bool = False

    events: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("boot", "kexec", "suspend", "interrupts"), ()),
        **dict.fromkeys(("plug", "unplug"), ("cpu",)),
        "add_device": ("its", "DeviceID", "vectors"),
        "remove_device": ("its", "DeviceID"),
        **dict.fromkeys(("request", "free", "raise", "unforward"), _EVENT),
        "meanwhile": (*_EVENT, "polls"),
        "affinity": (*_EVENT, "cpu"),
        "mask": (*_EVENT, "masked"),
        "set_pending": (*_EVENT, "pending"),
        "begin_vm": ("vm", "vcpus"),
        "end_vm": ("vm",),
        "save": ("vm",),
        "forward": (*_EVENT, "vm", "vcpu", "vINTID", "byte"),
        "configure": (*_EVENT, "byte", "inv"),
        "load": (*_VPE, "cpu", "VGrp0En"),
        "put": (*_VPE, "Doorbell"),
        "invall": _VPE,
        "take": _VPE,
        "begin_vsgi": (*_VPE, "SGI", "enabled", "group", "byte"),
        **dict.fromkeys(("end_vsgi", "vsgi_pending"), (*_VPE, "SGI")),
        "set_vsgi": (*_VPE, "SGI", "group", "byte"),
        "enable_vsgi": (*_VPE, "SGI", "enabled"),
        "set_vsgi_pending": (*_VPE, "SGI", "pending"),
    }
    names: ClassVar[tuple[str, ...]] = ("DeviceID", "EventID", "vINTID", "cpu", "vm", "vcpu", "SGI", "its")
    least: ClassVar[dict[str, int]] = {"vINTID": FIRST_LPI}
    counts_events = True

    @property
    def command_set(self) -> str:
        """The GIC's."""
        return self.config.architecture

    def limits(self) -> dict[str, range]:
        """Numbers of what the host may have."""
        config = self.config
        return {
            **{"its": range(config.its), "cpu": range(config.redistributors), "vm": range(MOST_VMS)},
            **{"vcpu": range(MOST_VCPUS), "vcpus": range(1, MOST_VCPUS + 1), "SGI": range(VSGIS), "byte": range(256)},
            "polls": range(MOST_POLLS),
            **{"vectors": range(1, MOST_VECTORS + 1), "EventID": range(MOST_VECTORS)},
            # The highest one may be the driver's own device.
            "DeviceID": range((1 << config.device_id_bits) - 1),
            "vINTID": range(FIRST_LPI, 1 << config.intid_bits),
            **dict.fromkeys(("masked", "pending", "enabled", "group", "inv", "VGrp0En", "Doorbell"), _FLAG),
        }

    def describe(self) -> Iterator[list[str]]:
        """The choices that are none of the defaults; `commands_per_step` is 0 if commands are executed at once."""
        yield ["config", *choices_of(replace(self.config, commands_per_step=None))]
        yield ["host", f"commands_per_step={self.config.commands_per_step or 0}", f"late={int(self.late)}"]

    @classmethod
    def described(cls, line: Callable[[str], list[str]]) -> Self:
        """A config, and how it is run. ValueError: what is late is not done in steps, and must be retained."""
        config = config_of(line("config"))
        known = {"commands_per_step": range(MOST_COMMANDS + 1), "late": _FLAG}
        values = numbers("host", line("host"), known)
        if values["late"] and (values["commands_per_step"] or config.caching != "retain"):
            raise ValueError("late=1 needs commands_per_step=0 and caching=retain")
        return cls(replace(config, commands_per_step=values["commands_per_step"] or None), bool(values["late"]))

    def simpler(self, steps: Sequence[Step]) -> Iterator[Self]:
        """Nothing late, nothing in steps, default choices."""
        if self.late:
            yield replace(self, late=False)
        if self.config.commands_per_step:
            yield replace(self, config=replace(self.config, commands_per_step=None))
        for name in _DEFAULTED:
            default = getattr(_DEFAULTS, name)
            if getattr(self.config, name) != default:
                yield replace(self, config=replace(self.config, **{name: default}))


_OPERATIONS = {
    **HostMachine.events,
    **{"take_doorbell": _VPE, "vpt": _VPE, "cpu_of": _EVENT},
    **dict.fromkeys(("unmap_vpes", "map_vpes"), ("vm",)),
}
"""The events of programs; what KVM does at a doorbell and for a save, and what is looked at."""


class Things(Protocol):
    """What operations are about, as a host or who follows it has it."""

    def event(self, its: int, device_id: int, number: int) -> Any: ...

    def vpe(self, vm: int, vcpu: int) -> Any: ...

    def vm(self, number: int) -> Any: ...


def operands(step: Event, things: Things) -> list[Any]:
    """The event of a device, the vPE or the VM that an operation names, which come first; then its other values."""
    names, values, found = _OPERATIONS[step.verb], step.values, list[Any]()
    if names[:3] == _EVENT:
        names, values, found = names[3:], values[3:], [things.event(*values[:3])]
    if names[:2] == _VPE:
        return [*found, things.vpe(*values[:2]), *values[2:]]
    if names == ("vm",):
        return [things.vm(*values[:1]), *values[1:]]
    return [*found, *values]
