# SPDX-License-Identifier: Apache-2.0
"""What a host may rely on, in sets: where each interrupt must arrive, whatever hardware and driver do about it.

`Expected` follows a program: `makes_sense` says whether a step does where it stands, and the method of its verb what
must come of it. Nothing here knows a command, a register or a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gicmodel.fuzzing.peers.linux.driver.host import EventKey, VpeKey
from gicmodel.fuzzing.peers.linux.driver.machine import HostMachine
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.fuzzing.programs.program import Event
from gicmodel.layouts.lpi_tables import VSGIS

KNOWN_BUGS = True
"""Leave out what Linux is known to do wrong on GICv4.0 (docs/found-in-linux.md): that a vPE runs before its VM has
vLPIs, where that does not map it; that a doorbell is pending while another vPE takes its event of the proxy device;
that a vPE that waits for its doorbell is moved, as by the end of its CPU; that an LPI that was a doorbell does not
arrive where that waits; and, before 6.12, that a VM whose vPEs have left the first CPU has them mapped there."""

_ANY_TIME = ("affinity", "mask", "add_device", "begin_vm", "invall", "plug")
_OF_AN_EVENT = ("request", "free", "set_pending", "forward", "unforward", "configure")
_OF_A_VM = ("load", "put", "end_vm", "save", "begin_vsgi", "end_vsgi", "set_vsgi", "enable_vsgi", "set_vsgi_pending")

_ENABLE, _PRIORITY, _VSGI_PRIORITY = 1, 0xFC, 0xF0


@dataclass
class Interrupt:
    """An event of a device: the LPI that it is, or the vLPI."""

    intid: int
    requested: bool = False
    masked: bool = False
    pending: bool = False
    cpu: int = 0
    vpe: VpeKey | None = None
    vintid: int = 0


@dataclass
class Vsgi:
    """A vSGI of a vPE; `began`: the driver has it."""

    began: bool = False
    enabled: bool = False
    group: int = 0
    priority: int = 0


@dataclass
class Vpe:
    """A vPE: where it runs, what is pending, whether its doorbell is to ring, where one may be waiting already.

    `must_ring`: one waits for sure, and nobody has taken it yet. `old`: what may wait is of before the vPE ran last;
    when one is taken then, it is `doubtful` whether another may come.
    """

    doorbell: int
    pending: set[int] = field(default_factory=set)
    cpu: int | None = None
    group0: bool = False
    armed: bool = False
    must_ring: bool = False
    may_ring: bool = False
    old: bool = False
    doubtful: bool = False
    vsgis: list[Vsgi] = field(default_factory=lambda: [Vsgi() for _ in range(VSGIS)])


@dataclass
class Vm:
    """A VM, with the configuration bytes of its vLPIs; `moved`: a vPE of it may be elsewhere than on the first CPU."""

    vpes: list[Vpe]
    bytes: dict[int, int] = field(default_factory=dict)
    moved: bool = False


class Expected:
    """A host as it should be; `maps_anew`: Linux maps vPEs on demand to the first CPU, wherever they are (6.1)."""

    def __init__(self, machine: HostMachine, maps_anew: bool = False) -> None:
        self.machine = machine
        self.maps_anew = maps_anew
        self.v41 = machine.config.v41
        self.boot(0)

    # What can be asked now.

    def makes_sense(self, step: Event) -> bool:
        """Whether Linux' callers may do that where it stands."""
        verb, values = step
        if verb in ("boot", "kexec", "interrupts", "suspend"):
            return True
        check: Callable[..., bool] = getattr(self, f"_may_{verb}")
        return check(*values)

    @property
    def leaves_doorbells(self) -> bool:
        """Whether a redistributor may retain a doorbell's byte that Linux does not have read there.

        A GICv4.0's may where the vPE was, any where one waits whose VM has ended.
        """
        return self.machine.config.architecture == "4.0" or (KNOWN_BUGS and bool(self.stale))

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
        found = self._interrupt(event)
        vpe = None if found is None else found.vpe
        return vpe is None or (vpe[0] != values[0] and not self.takes_interrupts_before(verb))

    def takes_interrupts_before(self, verb: str) -> bool:
        """Whether CPUs must have taken their doorbells before the driver maps some to events of its proxy device."""
        config = self.machine.config
        uses_proxy = config.architecture == "4.0" and not config.direct_lpi
        return KNOWN_BUGS and uses_proxy and verb in ("load", "put", "end_vm", "unplug")

    def _may_plug(self, cpu: int) -> bool:
        return cpu not in self.online

    def _may_unplug(self, cpu: int) -> bool:
        waits = KNOWN_BUGS and not self.v41 and any(vpe.armed for _, vpe in self.vpes())
        return cpu in self.online and len(self.online) > 1 and cpu not in self._busy_cpus() and not waits

    def _may_add_device(self, its: int, device_id: int, vectors: int) -> bool:
        return (its, device_id) not in self.devices

    def _may_remove_device(self, its: int, device_id: int) -> bool:
        return not any(each.requested for each in self.devices.get((its, device_id), [Interrupt(0, requested=True)]))

    def _may_request(self, *event: int) -> bool:
        return (found := self._interrupt(event)) is not None and not found.requested

    def _may_free(self, *event: int) -> bool:
        return self._physical(event) is not None

    def _may_raise(self, *event: int) -> bool:
        return True

    def _may_meanwhile(self, its: int, device_id: int, event_id: int, polls: int) -> bool:
        return True

    def _may_unforward(self, *event: int) -> bool:
        return (found := self._interrupt(event)) is not None and found.vpe is not None

    def _may_affinity(self, its: int, device_id: int, event_id: int, cpu: int) -> bool:
        return self._physical((its, device_id, event_id)) is not None and cpu in self.online

    def _may_mask(self, its: int, device_id: int, event_id: int, masked: int) -> bool:
        found = self._physical((its, device_id, event_id))
        return found is not None and found.masked != bool(masked)

    def _may_set_pending(self, its: int, device_id: int, event_id: int, pending: int) -> bool:
        return (found := self._interrupt((its, device_id, event_id))) is not None and found.requested

    def _may_begin_vm(self, vm: int, vcpus: int) -> bool:
        return self.machine.config.virtual and vm not in self.vms

    def _may_end_vm(self, vm: int) -> bool:
        return vm in self.vms and self._stands_still(vm)

    def _may_save(self, vm: int) -> bool:
        return self.v41 and vm in self.vms and self._stands_still(vm)

    def _may_forward(self, its: int, device_id: int, event_id: int, vm: int, vcpu: int, vintid: int, byte: int) -> bool:
        found = self._interrupt((its, device_id, event_id))
        if found is None or not found.requested or found.masked or not self._vpe((vm, vcpu)):
            return False
        if found.vpe is not None:
            return found.vpe[0] == vm and found.vintid == vintid
        maps_vpes = self._is_lazy and all(other_its != its for other_its, _, _ in self.forwarded_to(vm))
        if KNOWN_BUGS and maps_vpes and self._maps_elsewhere(vm):
            return False
        others = (each.vpe for each in self.devices[its, device_id] if each.vpe is not None)
        return vintid not in self.vms[vm].bytes and all(other[0] == vm for other in others)

    def _may_configure(self, its: int, device_id: int, event_id: int, byte: int, inv: int) -> bool:
        return self._may_unforward(its, device_id, event_id)

    def _may_load(self, vm: int, vcpu: int, cpu: int, group0: int) -> bool:
        vpe = self._vpe((vm, vcpu))
        if vpe is None or (KNOWN_BUGS and self._is_lazy and not self.vms[vm].bytes):
            return False
        return vpe.cpu is None and cpu in self.online and cpu not in self._busy_cpus()

    def _may_put(self, vm: int, vcpu: int, doorbell: int) -> bool:
        return (vpe := self._vpe((vm, vcpu))) is not None and vpe.cpu is not None

    def _may_take(self, vm: int, vcpu: int) -> bool:
        return self._may_put(vm, vcpu, 0)

    def _may_invall(self, vm: int, vcpu: int) -> bool:
        return self._vpe((vm, vcpu)) is not None

    def _may_begin_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int, group: int, byte: int) -> bool:
        return self.v41 and (vpe := self._vpe((vm, vcpu))) is not None and not vpe.vsgis[sgi].began

    def _may_end_vsgi(self, vm: int, vcpu: int, sgi: int) -> bool:
        return (vpe := self._vpe((vm, vcpu))) is not None and vpe.vsgis[sgi].began

    def _may_vsgi_pending(self, vm: int, vcpu: int, sgi: int) -> bool:
        return self._may_end_vsgi(vm, vcpu, sgi)

    def _may_set_vsgi(self, vm: int, vcpu: int, sgi: int, group: int, byte: int) -> bool:
        return self._may_end_vsgi(vm, vcpu, sgi)

    def _may_enable_vsgi(self, vm: int, vcpu: int, sgi: int, enabled: int) -> bool:
        return self._may_end_vsgi(vm, vcpu, sgi)

    def _may_set_vsgi_pending(self, vm: int, vcpu: int, sgi: int, pending: int) -> bool:
        return self._may_end_vsgi(vm, vcpu, sgi)

    # What must come of it: each method takes the result first.

    def boot(self, result: object) -> None:
        """Nothing is there."""
        self.online = set(range(self.machine.config.redistributors))
        self.devices: dict[tuple[int, int], list[Interrupt]] = {}
        self.vms: dict[int, Vm] = {}
        self.stale: set[int] = set()

    kexec = boot

    def suspend(self, result: object) -> None:
        """Everything stays."""

    def invall(self, result: object, vm: int, vcpu: int) -> None:
        """Nothing changes that software can see."""

    def plug(self, result: object, cpu: int) -> None:
        """It may be used."""
        self.online.add(cpu)
        for vm in self.vms.values():
            vm.moved |= cpu == min(self.online)

    def unplug(self, result: object, cpu: int) -> None:
        """What goes there goes elsewhere; the kernel says where (`moved`)."""
        self.online.discard(cpu)

    def add_device(self, intids: list[int], its: int, device_id: int, vectors: int) -> None:
        """LPIs that nobody else has."""
        known = {each.intid for device in self.devices.values() for each in device}
        known.update(vpe.doorbell for vm in self.vms.values() for vpe in vm.vpes)
        _check("INTIDs of a device", len(set(intids) - known), vectors)
        self.devices[its, device_id] = [Interrupt(intid) for intid in intids]

    def remove_device(self, result: object, its: int, device_id: int) -> None:
        """It is gone."""
        del self.devices[its, device_id]

    def request(self, cpu: int, *event: int) -> None:
        """Enabled, on the CPU that the kernel chooses."""
        self._is_online("an interrupt that is requested", cpu)
        interrupt = self._known(event)
        interrupt.requested, interrupt.masked, interrupt.pending, interrupt.cpu = True, False, False, cpu

    def free(self, result: object, *event: int) -> None:
        """What is pending is dropped."""
        interrupt = self._known(event)
        interrupt.requested = interrupt.pending = False

    def raised(self, accepted: bool, *event: int) -> None:
        """A message of an event that is requested is one, and no other."""
        found = self._interrupt(event)
        _check("a message is taken", accepted, found is not None and found.requested)
        if found is not None and found.requested:
            self._become_pending(found)

    def affinity(self, cpu: int, its: int, device_id: int, event_id: int, wanted: int) -> None:
        """It goes there, and takes along what is pending."""
        _check("the CPU of an interrupt", cpu, wanted)
        self._known((its, device_id, event_id)).cpu = cpu

    def mask(self, result: object, its: int, device_id: int, event_id: int, masked: int) -> None:
        """What is pending waits."""
        self._known((its, device_id, event_id)).masked = bool(masked)

    def set_pending(self, result: object, its: int, device_id: int, event_id: int, pending: int) -> None:
        """As if the device had, or had not."""
        interrupt = self._known((its, device_id, event_id))
        if pending:
            self._become_pending(interrupt)
        elif interrupt.vpe is not None:
            self._pending_of(interrupt.vpe).discard(interrupt.vintid)
        else:
            interrupt.pending = False

    def interrupts(self, taken: dict[int, list[int]]) -> Iterator[VpeKey]:
        """All that is pending and not masked, once, where it should; doorbells that must ring, and no others than may.

        Yields the vPEs whose doorbells rang.
        """
        doorbells = {vpe.doorbell: (key, vpe) for key, vpe in self.vpes()}
        rang = {intid for intids in taken.values() for intid in intids} & doorbells.keys()
        lpis = {cpu: sorted(set(intids) - rang) for cpu, intids in taken.items() if set(intids) - rang}
        due = self._due()
        for cpu, intids in lpis.items():
            spurious = self.stale.intersection(intids).difference(due.get(cpu, ()))
            self.stale -= spurious
            lpis[cpu] = sorted(set(intids) - spurious)
        due = {cpu: left for cpu, intids in due.items() if (left := self._sure(intids, lpis.get(cpu, [])))}
        _check("LPIs that CPUs take", {cpu: intids for cpu, intids in lpis.items() if intids}, due)
        for device in self.devices.values():
            for each in device:
                each.pending &= each.masked
        for intid, (key, vpe) in doorbells.items():
            if intid not in rang and vpe.must_ring:
                raise Divergence(f"the doorbell of vCPU {key[1]}", "has not rung")
            if intid in rang and not vpe.may_ring and self.v41:
                raise Divergence(f"the doorbell of vCPU {key[1]}", "rings for nothing")
            vpe.doubtful |= intid in rang and vpe.old and not vpe.must_ring
            vpe.must_ring = vpe.may_ring = vpe.old = False
            if intid in rang:
                vpe.armed = False
                yield key

    def begin_vm(self, doorbells: list[int], vm: int, vcpus: int) -> None:
        """vPEs with doorbells of their own."""
        _check("doorbells of a VM", len(set(doorbells)), vcpus)
        self.vms[vm] = Vm([Vpe(each, may_ring=each in self.stale) for each in doorbells])
        self.stale.difference_update(doorbells)

    def end_vm(self, result: object, vm: int) -> None:
        """It is gone. A doorbell that nobody has taken may be pending yet for whoever gets its LPI."""
        self.stale |= {vpe.doorbell for vpe in self.vms[vm].vpes if vpe.may_ring or not self.v41}
        del self.vms[vm]

    def saved(self, tables: list[list[int]], vm: int) -> None:
        """RAM has what is pending; then the vPEs are as before, but for their doorbells."""
        pending = [sorted(each for each in vpe.pending if each >= VSGIS) for vpe in self.vms[vm].vpes]
        _check("VPTs in RAM", tables, pending)
        for vpe in self.vms[vm].vpes:
            vpe.armed = vpe.must_ring = vpe.group0 = False

    def forward(self, result: object, its: int, device_id: int, event_id: int, vm: int, vcpu: int, vintid: int,
                byte: int) -> None:  # fmt: skip
        """An LPI that is pending is dropped; a vLPI moves along with it, and its byte stays."""
        interrupt = self._known((its, device_id, event_id))
        was, interrupt.vpe, interrupt.vintid = interrupt.vpe, (vm, vcpu), vintid
        interrupt.pending = False
        if was is None:
            self.vms[vm].bytes[vintid] = byte
        elif was != (vm, vcpu) and vintid in self._pending_of(was):
            self._pending_of(was).discard(vintid)
            self._become_pending(interrupt)

    def unforward(self, result: object, *event: int) -> None:
        """An LPI again, enabled; what is pending is dropped."""
        interrupt = self._known(event)
        assert interrupt.vpe is not None
        self._pending_of(interrupt.vpe).discard(interrupt.vintid)
        del self.vms[interrupt.vpe[0]].bytes[interrupt.vintid]
        interrupt.vpe, interrupt.pending = None, False

    def configure(self, result: object, its: int, device_id: int, event_id: int, byte: int, inv: int) -> None:
        """The byte counts."""
        interrupt = self._known((its, device_id, event_id))
        assert interrupt.vpe is not None
        vm, vpe = self.vms[interrupt.vpe[0]], self.vpe(interrupt.vpe)
        was, vm.bytes[interrupt.vintid] = vm.bytes[interrupt.vintid], byte
        if byte & _ENABLE and not was & _ENABLE and interrupt.vintid in vpe.pending:
            self._may_ring_now(vpe)

    def load(self, result: object, vm: int, vcpu: int, cpu: int, group0: int) -> None:
        """It looks for itself now: no doorbell must ring."""
        vpe = self.vpe((vm, vcpu))
        vpe.cpu, vpe.group0 = cpu, bool(group0)
        vpe.armed = vpe.must_ring = vpe.doubtful = False
        self.vms[vm].moved |= cpu != min(self.online)

    def put(self, pending_last: int, vm: int, vcpu: int, doorbell: int) -> None:
        """The kernel is told whether something is left, if it asks; if nothing is, the next one rings."""
        vpe = self.vpe((vm, vcpu))
        left = any(self._enabled((vm, vcpu), each) for each in vpe.pending)
        if self.v41:
            _check("pending_last", bool(pending_last), left if doorbell else True)
        elif left:
            _check("pending_last", bool(pending_last), True)
        vpe.cpu, vpe.old = None, vpe.may_ring
        vpe.armed = bool(doorbell) and not left

    def take(self, taken: list[int], vm: int, vcpu: int) -> None:
        """All that is enabled, the most urgent first."""
        vpe = self.vpe((vm, vcpu))
        due = [each for each in vpe.pending if self._enabled((vm, vcpu), each)]
        _check("what a guest takes", taken, sorted(due, key=lambda each: (self._priority((vm, vcpu), each), each)))
        vpe.pending.difference_update(due)

    def begin_vsgi(self, result: object, vm: int, vcpu: int, sgi: int, enabled: int, group: int, byte: int) -> None:
        """Its configuration counts; what is pending stays."""
        vpe = self.vpe((vm, vcpu))
        vpe.vsgis[sgi] = Vsgi(True, bool(enabled), group, byte & _VSGI_PRIORITY)
        self._changed(vpe, sgi)

    def end_vsgi(self, result: object, vm: int, vcpu: int, sgi: int) -> None:
        """Disabled, and not pending."""
        vpe = self.vpe((vm, vcpu))
        vpe.vsgis[sgi].began = vpe.vsgis[sgi].enabled = False
        vpe.pending.discard(sgi)

    def set_vsgi(self, result: object, vm: int, vcpu: int, sgi: int, group: int, byte: int) -> None:
        """Its group and priority count."""
        vsgi = self.vpe((vm, vcpu)).vsgis[sgi]
        vsgi.group, vsgi.priority = group, byte & _VSGI_PRIORITY
        self._changed(self.vpe((vm, vcpu)), sgi)

    def enable_vsgi(self, result: object, vm: int, vcpu: int, sgi: int, enabled: int) -> None:
        """Enabled, or not."""
        self.vpe((vm, vcpu)).vsgis[sgi].enabled = bool(enabled)
        self._changed(self.vpe((vm, vcpu)), sgi)

    def set_vsgi_pending(self, result: object, vm: int, vcpu: int, sgi: int, pending: int) -> None:
        """Pending, or not."""
        if pending:
            self._virtual_pending((vm, vcpu), sgi)
        else:
            self.vpe((vm, vcpu)).pending.discard(sgi)

    def vsgi_pending(self, pending: int, vm: int, vcpu: int, sgi: int) -> None:
        """As it is."""
        _check("whether a vSGI is pending", bool(pending), sgi in self.vpe((vm, vcpu)).pending)

    # What there is.

    def vpes(self) -> Iterator[tuple[VpeKey, Vpe]]:
        """Every vPE."""
        for number, vm in self.vms.items():
            yield from (((number, vcpu), vpe) for vcpu, vpe in enumerate(vm.vpes))

    def vpe(self, key: VpeKey) -> Vpe:
        """The vPE of a vCPU that is there."""
        return self.vms[key[0]].vpes[key[1]]

    def forwarded_to(self, vm: int) -> list[EventKey]:
        """The events that are vLPIs of a VM."""
        found = ((*key, number, each.vpe) for key, device in self.devices.items() for number, each in enumerate(device))
        return [(its, device_id, number) for its, device_id, number, vpe in found if vpe is not None and vpe[0] == vm]

    def vsgis_of(self, vm: int) -> list[tuple[int, int]]:
        """The vSGIs that the driver has, as (vCPU, SGI)."""
        vpes = enumerate(self.vms[vm].vpes)
        return [(vcpu, sgi) for vcpu, vpe in vpes for sgi, vsgi in enumerate(vpe.vsgis) if vsgi.began]

    def physical_on(self, cpu: int) -> Iterator[tuple[EventKey, Interrupt]]:
        """The interrupts of devices that go to a CPU."""
        for (its, device_id), device in self.devices.items():
            for number, each in enumerate(device):
                if each.requested and each.cpu == cpu and each.vpe is None:
                    yield (its, device_id, number), each

    def moved(self, interrupt: Interrupt, cpu: int) -> None:
        """The kernel has moved an interrupt off a CPU that went down."""
        self._is_online("an interrupt that is moved", cpu)
        interrupt.cpu = cpu

    def _vpe(self, key: VpeKey) -> Vpe | None:
        vm = self.vms.get(key[0])
        return vm.vpes[key[1]] if vm is not None and key[1] < len(vm.vpes) else None

    def _busy_cpus(self) -> set[int | None]:
        return {vpe.cpu for _, vpe in self.vpes()}

    @property
    def _is_lazy(self) -> bool:
        """Whether Linux maps vPEs when their VM gets vLPIs, and not before (gic_requires_eager_mapping)."""
        return self.machine.config.architecture == "4.0" and not self.machine.config.vmovp

    def _stands_still(self, vm: int) -> bool:
        return all(vpe.cpu is None for vpe in self.vms[vm].vpes)

    def _maps_elsewhere(self, vm: int) -> bool:
        """Whether vPEs that are mapped on demand may be somewhere else."""
        return not self._stands_still(vm) or (self.maps_anew and self.vms[vm].moved)

    def _interrupt(self, event: tuple[int, ...]) -> Interrupt | None:
        its, device_id, number = event
        device = self.devices.get((its, device_id), [])
        return device[number] if number < len(device) else None

    def _known(self, event: tuple[int, ...]) -> Interrupt:
        found = self._interrupt(event)
        assert found is not None
        return found

    def _physical(self, event: tuple[int, ...]) -> Interrupt | None:
        found = self._interrupt(event)
        return found if found is not None and found.requested and found.vpe is None else None

    def _is_online(self, what: str, cpu: int) -> None:
        if cpu not in self.online:
            raise Divergence(f"the CPU of {what}", f"{cpu}, which is not online")

    # What happens to what is pending.

    def _due(self) -> dict[int, list[int]]:
        due: dict[int, list[int]] = {}
        for device in self.devices.values():
            for each in device:
                if each.pending and not each.masked:
                    due.setdefault(each.cpu, []).append(each.intid)
        return {cpu: sorted(intids) for cpu, intids in due.items()}

    def _sure(self, due: list[int], taken: list[int]) -> list[int]:
        """The LPIs of a CPU that must come. Of what was a GICv4.0's doorbell a disabled byte may be kept there."""
        lost = self.stale.difference(taken) if KNOWN_BUGS and not self.v41 else ()
        return [intid for intid in due if intid not in lost]

    def _pending_of(self, key: VpeKey) -> set[int]:
        return self.vpe(key).pending

    def _become_pending(self, interrupt: Interrupt) -> None:
        if interrupt.vpe is None:
            interrupt.pending = True
        else:
            self._virtual_pending(interrupt.vpe, interrupt.vintid)

    def _virtual_pending(self, key: VpeKey, intid: int) -> None:
        vpe = self.vpe(key)
        new = intid not in vpe.pending
        vpe.pending.add(intid)
        if new and self._enabled(key, intid) and vpe.cpu is None and vpe.armed:
            vpe.must_ring = vpe.may_ring = True
            vpe.armed = not self.v41
        elif new and self._enabled(key, intid) and vpe.doubtful:
            vpe.may_ring = True

    def _enabled(self, key: VpeKey, intid: int) -> bool:
        vpe = self.vpe(key)
        if intid >= VSGIS:
            return bool(self.vms[key[0]].bytes[intid] & _ENABLE)
        vsgi = vpe.vsgis[intid]
        return vsgi.enabled and bool(vsgi.group or vpe.group0)

    def _priority(self, key: VpeKey, intid: int) -> int:
        return self.vms[key[0]].bytes[intid] & _PRIORITY if intid >= VSGIS else self.vpe(key).vsgis[intid].priority

    def _changed(self, vpe: Vpe, sgi: int) -> None:
        if sgi in vpe.pending:
            self._may_ring_now(vpe)

    def _may_ring_now(self, vpe: Vpe) -> None:
        """What was pending may be enabled now: whether that rings is left to the hardware."""
        if vpe.cpu is None and (vpe.armed or vpe.doubtful):
            vpe.may_ring = True


def _check(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise Divergence(what, f"is {got}", f"should be {wanted}")
