# SPDX-License-Identifier: Apache-2.0
"""What a host may rely on: where each interrupt must arrive, whatever hardware and driver do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gicmodel.fuzzing.peers.linux.driver import sense
from gicmodel.fuzzing.peers.linux.driver.machine import operands
from gicmodel.fuzzing.peers.linux.driver.state import HostState, Interrupt, Vm, Vpe, Vsgi
from gicmodel.fuzzing.peers.peer import Divergence
from gicmodel.fuzzing.programs.program import Event
from gicmodel.layouts.lpi_tables import VSGI_CONFIGURATION, VSGIS


class Expected(HostState):
    """A host as it should be: `follow` is told of each operation that makes sense, and of what came of it."""

    def follow(self, step: Event, result: Any) -> Any:
        """Raise Divergence unless that is what must come of a step. The vPEs whose doorbells rang, of `interrupts`."""
        follow: Callable[..., Any] = getattr(self, f"_{step.verb}")
        return follow(result, *operands(step, self))

    # The method of a verb takes the result first.

    def _boot(self, result: object) -> None:
        """Nothing is there."""
        self.clear()

    _kexec = _boot

    def _suspend(self, result: object, *vpe: Vpe) -> None:
        """Nothing changes that software can see."""

    _invall = _suspend

    def _plug(self, result: object, cpu: int) -> None:
        """It may be used."""
        self.online.add(cpu)
        for vm in self.vms.values():
            vm.moved |= cpu == min(self.online)

    def _unplug(self, cpus: dict[Interrupt, int], cpu: int) -> None:
        """What went there goes elsewhere, where the kernel says."""
        self.online.discard(cpu)
        for interrupt, other in cpus.items():
            self._is_online("an interrupt that is moved", other)
            interrupt.cpu = other

    def _add_device(self, intids: list[int], its: int, device_id: int, vectors: int) -> None:
        """LPIs that nobody else has."""
        known = {each.intid for each in self.events} | {vpe.doorbell for vpe in self.vpes}
        _check("INTIDs of a device", len(set(intids) - known), vectors)
        self.devices[its, device_id] = [Interrupt((its, device_id, n), intid) for n, intid in enumerate(intids)]

    def _remove_device(self, result: object, its: int, device_id: int) -> None:
        """It is gone."""
        del self.devices[its, device_id]

    def _request(self, cpu: int, event: Interrupt) -> None:
        """Enabled, on the CPU that the kernel chooses."""
        self._is_online("an interrupt that is requested", cpu)
        event.requested, event.masked, event.pending, event.cpu = True, False, False, cpu

    def _free(self, result: object, event: Interrupt) -> None:
        """What is pending is dropped."""
        event.requested = event.pending = False

    def _raise(self, accepted: bool, event: Interrupt | None) -> None:
        """A message of an event that is requested is one, and no other."""
        wanted = event is not None and event.requested
        _check("a message is taken", accepted, wanted)
        if event is not None and wanted:
            self._become_pending(event)

    def _affinity(self, cpu: int, event: Interrupt, wanted: int) -> None:
        """It goes there, and takes along what is pending."""
        _check("the CPU of an interrupt", cpu, wanted)
        event.cpu = cpu

    def _mask(self, result: object, event: Interrupt, masked: int) -> None:
        """What is pending waits."""
        event.masked = bool(masked)

    def _set_pending(self, result: object, event: Interrupt, pending: int) -> None:
        """As if the device had, or had not."""
        if pending:
            self._become_pending(event)
        elif event.vpe is not None:
            event.vpe.pending.discard(event.vintid)
        else:
            event.pending = False

    def _interrupts(self, taken: dict[int, list[int]]) -> Iterator[Vpe]:
        """All that is pending and not masked, once, where it should; doorbells that must ring, and no others than may.

        Yields the vPEs whose doorbells rang.
        """
        doorbells = {vpe.doorbell: vpe for vpe in self.vpes}
        rang = {intid for intids in taken.values() for intid in intids} & doorbells.keys()
        lpis = {cpu: sorted(set(intids) - rang) for cpu, intids in taken.items() if set(intids) - rang}
        due = self._due()
        for cpu, intids in lpis.items():
            spurious = self.stale.intersection(intids).difference(due.get(cpu, ()))
            self.stale -= spurious
            lpis[cpu] = sorted(set(intids) - spurious)
        due = {cpu: left for cpu, intids in due.items() if (left := self._sure(intids, lpis.get(cpu, [])))}
        _check("LPIs that CPUs take", {cpu: intids for cpu, intids in lpis.items() if intids}, due)
        for each in self.events:
            each.pending &= each.masked
        for intid, vpe in doorbells.items():
            if self._rings(vpe, intid in rang):
                yield vpe

    def _rings(self, vpe: Vpe, rang: bool) -> bool:
        """Whether the doorbell of a vPE rang, which was to, or might."""
        if not rang and vpe.must_ring:
            raise Divergence(f"the doorbell of vCPU {vpe.key[1]}", "has not rung")
        if rang and not vpe.may_ring and self.config.v41:
            raise Divergence(f"the doorbell of vCPU {vpe.key[1]}", "rings for nothing")
        vpe.doubtful |= rang and vpe.old and not vpe.must_ring
        vpe.must_ring = vpe.may_ring = vpe.old = False
        vpe.armed &= not rang
        return rang

    def _begin_vm(self, doorbells: list[int], number: int, vcpus: int) -> None:
        """vPEs with doorbells of their own."""
        _check("doorbells of a VM", len(set(doorbells)), vcpus)
        self.vms[number] = vm = Vm(number)
        vm.vpes = [Vpe((number, n), vm, each, may_ring=each in self.stale) for n, each in enumerate(doorbells)]
        self.stale.difference_update(doorbells)

    def _end_vm(self, result: object, vm: Vm) -> None:
        """It is gone. A doorbell that nobody has taken may be pending yet for whoever gets its LPI."""
        self.stale |= {vpe.doorbell for vpe in vm.vpes if vpe.may_ring or not self.config.v41}
        del self.vms[vm.number]

    def _save(self, tables: list[list[int]], vm: Vm) -> None:
        """RAM has what is pending; then the vPEs are as before, but for their doorbells."""
        _check("VPTs in RAM", tables, [sorted(each for each in vpe.pending if each >= VSGIS) for vpe in vm.vpes])
        for vpe in vm.vpes:
            vpe.armed = vpe.must_ring = vpe.group0 = False

    def _forward(self, result: object, event: Interrupt, vpe: Vpe, vintid: int, byte: int) -> None:
        """An LPI that is pending is dropped; a vLPI moves along with it, and its byte stays."""
        was, event.vpe, event.vintid = event.vpe, vpe, vintid
        event.pending = False
        if was is None:
            vpe.vm.bytes[vintid] = byte
        elif was is not vpe and vintid in was.pending:
            was.pending.discard(vintid)
            self._become_pending(event)

    def _unforward(self, result: object, event: Interrupt) -> None:
        """An LPI again, enabled; what is pending is dropped."""
        assert event.vpe is not None
        event.vpe.pending.discard(event.vintid)
        del event.vpe.vm.bytes[event.vintid]
        event.vpe, event.pending = None, False

    def _configure(self, result: object, event: Interrupt, byte: int, inv: int) -> None:
        """The byte counts."""
        vpe, vintid = event.vpe, event.vintid
        assert vpe is not None
        was_enabled = vpe.enables(vintid)
        vpe.vm.bytes[vintid] = byte
        if vpe.enables(vintid) and not was_enabled:
            self._changed(vpe, vintid)

    def _load(self, result: object, vpe: Vpe, cpu: int, group0: int) -> None:
        """It looks for itself now: no doorbell must ring."""
        vpe.cpu, vpe.group0 = cpu, bool(group0)
        vpe.armed = vpe.must_ring = vpe.doubtful = False
        vpe.vm.moved |= cpu != min(self.online)

    def _put(self, pending_last: int, vpe: Vpe, doorbell: int) -> None:
        """The kernel is told whether something is left, if it asks; if nothing is, the next one rings."""
        left = any(map(vpe.enables, vpe.pending))
        if self.config.v41:
            _check("pending_last", bool(pending_last), left if doorbell else True)
        elif left:
            _check("pending_last", bool(pending_last), True)
        vpe.cpu, vpe.old = None, vpe.may_ring
        vpe.armed = bool(doorbell) and not left

    def _take(self, taken: list[int], vpe: Vpe) -> None:
        """All that is enabled, the most urgent first."""
        due = [each for each in vpe.pending if vpe.enables(each)]
        _check("what a guest takes", taken, sorted(due, key=lambda each: (vpe.priority(each), each)))
        vpe.pending.difference_update(due)

    def _begin_vsgi(self, result: object, vpe: Vpe, sgi: int, enabled: int, group: int, byte: int) -> None:
        """Its configuration counts; what is pending stays."""
        vpe.vsgis[sgi] = Vsgi(True, bool(enabled), group, VSGI_CONFIGURATION.unpack(byte)["Priority"])
        self._changed(vpe, sgi)

    def _end_vsgi(self, result: object, vpe: Vpe, sgi: int) -> None:
        """Disabled, and not pending."""
        vpe.vsgis[sgi].began = vpe.vsgis[sgi].enabled = False
        vpe.pending.discard(sgi)

    def _set_vsgi(self, result: object, vpe: Vpe, sgi: int, group: int, byte: int) -> None:
        """Its group and priority count."""
        vpe.vsgis[sgi].group, vpe.vsgis[sgi].priority = group, VSGI_CONFIGURATION.unpack(byte)["Priority"]
        self._changed(vpe, sgi)

    def _enable_vsgi(self, result: object, vpe: Vpe, sgi: int, enabled: int) -> None:
        """Enabled, or not."""
        vpe.vsgis[sgi].enabled = bool(enabled)
        self._changed(vpe, sgi)

    def _set_vsgi_pending(self, result: object, vpe: Vpe, sgi: int, pending: int) -> None:
        """Pending, or not."""
        if pending:
            self._virtual_pending(vpe, sgi)
        else:
            vpe.pending.discard(sgi)

    def _vsgi_pending(self, pending: int, vpe: Vpe, sgi: int) -> None:
        """As it is."""
        _check("whether a vSGI is pending", bool(pending), sgi in vpe.pending)

    def _is_online(self, what: str, cpu: int) -> None:
        if cpu not in self.online:
            raise Divergence(f"the CPU of {what}", f"{cpu}, which is not online")

    # What happens to what is pending.

    def _due(self) -> dict[int, list[int]]:
        due: dict[int, list[int]] = {}
        for each in self.events:
            if each.pending and not each.masked:
                due.setdefault(each.cpu, []).append(each.intid)
        return {cpu: sorted(intids) for cpu, intids in due.items()}

    def _sure(self, due: list[int], taken: list[int]) -> list[int]:
        """The LPIs of a CPU that must come. Of what was a GICv4.0's doorbell a disabled byte may be kept there."""
        lost = self.stale.difference(taken) if sense.KNOWN_BUGS and not self.config.v41 else ()
        return [intid for intid in due if intid not in lost]

    def _become_pending(self, event: Interrupt) -> None:
        if event.vpe is None:
            event.pending = True
        else:
            self._virtual_pending(event.vpe, event.vintid)

    def _virtual_pending(self, vpe: Vpe, intid: int) -> None:
        new = intid not in vpe.pending
        vpe.pending.add(intid)
        if new and vpe.enables(intid) and vpe.cpu is None and vpe.armed:
            vpe.must_ring = vpe.may_ring = True
            vpe.armed = not self.config.v41
        elif new and vpe.enables(intid) and vpe.doubtful:
            vpe.may_ring = True

    def _changed(self, vpe: Vpe, intid: int) -> None:
        """What was pending may be enabled now: whether that rings is left to the hardware."""
        if intid in vpe.pending and vpe.cpu is None and (vpe.armed or vpe.doubtful):
            vpe.may_ring = True


def _check(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise Divergence(what, f"is {got}", f"should be {wanted}")
