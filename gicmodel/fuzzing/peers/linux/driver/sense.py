# SPDX-License-Identifier: Apache-2.0
"""What Linux' callers may ask of a host where it stands, and which messages may come at any time meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from gicmodel.config import GicConfig
from gicmodel.fuzzing.peers.linux.driver.machine import EventKey, operands
from gicmodel.fuzzing.peers.linux.driver.state import HostState, Interrupt, Vm, Vpe
from gicmodel.fuzzing.programs.program import Event

KNOWN_BUGS = True
"""Leave out what Linux is known to do wrong on GICv4.0 (docs/found-in-linux.md): that a vPE runs before its VM has
vLPIs, where that does not map it; that a doorbell is pending while another vPE takes its event of the proxy device;
that a vPE that waits for its doorbell is moved, as by the end of its CPU; that an LPI that was a doorbell does not
arrive where that waits; and, before 6.12, that a VM whose vPEs have left the first CPU has them mapped there."""

_ALWAYS = ("boot", "kexec", "interrupts", "suspend", "raise", "meanwhile")
_ANY_TIME = ("affinity", "mask", "add_device", "begin_vm", "invall", "plug")
_OF_AN_EVENT = ("request", "free", "set_pending", "forward", "unforward", "configure")
_OF_A_VSGI = ("end_vsgi", "set_vsgi", "enable_vsgi", "set_vsgi_pending", "vsgi_pending")
_OF_A_VM = ("load", "put", "end_vm", "save", "begin_vsgi", *_OF_A_VSGI[:-1])


class Sense:
    """What makes sense on `host`; `maps_anew`: Linux maps vPEs on demand to the first CPU, wherever they are (6.1).

    The check of a verb gets what `operands` makes of it, all of which is there.
    """

    def __init__(self, host: HostState, maps_anew: bool) -> None:
        self._host = host
        self._config = host.config
        self._maps_anew = maps_anew
        self._checks = self._checks_of(host, host.config)

    def makes_sense(self, step: Event) -> bool:
        """Whether Linux' callers may do that where it stands."""
        if step.verb in _ALWAYS:
            return True
        found = operands(step, self._host)
        return None not in found and self._checks[step.verb](*found)

    def is_apart(self, step: Event, event: EventKey) -> bool:
        """Whether a message of `event` may come at any time during a step, and the same must come of both."""
        verb, values = step
        if verb in _ANY_TIME:
            return True
        if verb in _OF_AN_EVENT:
            return values[:3] != event
        if verb == "remove_device":
            return values != event[:2]
        if verb not in _OF_A_VM:
            return False
        found = self._host.event(*event)
        vpe = None if found is None else found.vpe
        return vpe is None or (vpe.vm.number != values[0] and not self.takes_interrupts_before(verb))

    def takes_interrupts_before(self, verb: str) -> bool:
        """Whether CPUs must have taken their doorbells before the driver maps some to events of its proxy device."""
        uses_proxy = self._config.architecture == "4.0" and not self._config.direct_lpi
        return KNOWN_BUGS and uses_proxy and verb in ("load", "put", "end_vm", "unplug")

    @property
    def leaves_doorbells(self) -> bool:
        """Whether a redistributor may retain a doorbell's byte that Linux does not have read there.

        A GICv4.0's may where the vPE was, any where one waits whose VM has ended.
        """
        return self._config.architecture == "4.0" or (KNOWN_BUGS and bool(self._host.stale))

    def _checks_of(self, host: HostState, config: GicConfig) -> dict[str, Callable[..., bool]]:
        return {
            "plug": lambda cpu: cpu not in host.online,
            "unplug": self._may_unplug,
            "add_device": lambda its, device_id, vectors: (its, device_id) not in host.devices,
            "remove_device": self._may_remove_device,
            "request": lambda event: not event.requested,
            "free": lambda event: event.is_physical,
            "affinity": lambda event, cpu: event.is_physical and cpu in host.online,
            "mask": lambda event, masked: event.is_physical and event.masked != bool(masked),
            "set_pending": lambda event, pending: event.requested,
            "forward": self._may_forward,
            **dict.fromkeys(("unforward", "configure"), lambda event, *values: event.vpe is not None),
            "begin_vm": lambda vm, vcpus: config.virtual and vm not in host.vms,
            "end_vm": lambda vm: vm.stands_still,
            "save": lambda vm: config.v41 and vm.stands_still,
            "load": self._may_load,
            **dict.fromkeys(("put", "take"), lambda vpe, *values: vpe.cpu is not None),
            "invall": lambda vpe: True,
            "begin_vsgi": lambda vpe, sgi, *values: config.v41 and not vpe.vsgis[sgi].began,
            **dict.fromkeys(_OF_A_VSGI, lambda vpe, sgi, *values: vpe.vsgis[sgi].began),
        }

    def _may_unplug(self, cpu: int) -> bool:
        waits = KNOWN_BUGS and not self._config.v41 and any(vpe.armed for vpe in self._host.vpes)
        return self._is_free(cpu) and len(self._host.online) > 1 and not waits

    def _may_remove_device(self, its: int, device_id: int) -> bool:
        device = self._host.devices.get((its, device_id))
        return device is not None and not any(each.requested for each in device)

    def _may_forward(self, event: Interrupt, vpe: Vpe, vintid: int, byte: int) -> bool:
        vm, its = vpe.vm, event.key[0]
        if not event.requested or event.masked:
            return False
        if event.vpe is not None:
            return event.vpe.vm is vm and event.vintid == vintid
        maps_vpes = self._is_lazy and all(other.key[0] != its for other in self._host.forwarded_to(vm))
        if KNOWN_BUGS and maps_vpes and self._maps_elsewhere(vm):
            return False
        others = self._host.devices[event.key[:2]]
        return vintid not in vm.bytes and all(other.vpe is None or other.vpe.vm is vm for other in others)

    def _may_load(self, vpe: Vpe, cpu: int, group0: int) -> bool:
        if KNOWN_BUGS and self._is_lazy and not vpe.vm.bytes:
            return False
        return vpe.cpu is None and self._is_free(cpu)

    def _is_free(self, cpu: int) -> bool:
        """Whether a CPU is there for a vPE."""
        return cpu in self._host.online and all(vpe.cpu != cpu for vpe in self._host.vpes)

    @property
    def _is_lazy(self) -> bool:
        """Whether Linux maps vPEs when their VM gets vLPIs, and not before (gic_requires_eager_mapping)."""
        return self._config.architecture == "4.0" and not self._config.vmovp

    def _maps_elsewhere(self, vm: Vm) -> bool:
        """Whether vPEs that are mapped on demand may be somewhere else."""
        return not vm.stands_still or (self._maps_anew and vm.moved)
