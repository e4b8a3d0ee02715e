# SPDX-License-Identifier: Apache-2.0
"""What a guest and its devices do all day, and which interrupts the guest is owed for it.

The books are sets of events, kept without a look at the GIC or at KVM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from gicmodel.layouts.kvm_abi import KVM_ITE
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION, VSGIS
from gicmodel.migration.guest import send_command
from gicmodel.migration.machine import Delivery, VirtualMachine

Event = tuple[int, int]
"""(number of a device of the VM, its vector)."""

MASKED, UNMASKED = (LPI_CONFIGURATION.pack(Priority=0xA0, Enable=enable) for enable in (0, 1))


class Workload:
    """A running VM all of whose devices' vectors the guest has mapped and enabled, with nothing pending."""

    def __init__(self, vm: VirtualMachine) -> None:
        self.vm = vm
        self.targets: dict[Event, Delivery] = {
            (number, vector): vm.target_of(device.guest_device_id, event)
            for number, device in enumerate(vm.devices)
            for vector, event in enumerate(device.events)
        }
        self.pending: set[Event] = set()
        self.sgis: set[Delivery] = set()
        """The SGIs that are pending."""
        self.masked: set[Event] = set()

    def fire(self, events: Iterable[Event]) -> None:
        """Devices raise interrupts; one that is pending already is not raised again."""
        vectors: dict[int, list[int]] = {}
        for number, vector in events:
            vectors.setdefault(number, []).append(vector)
            self.pending.add((number, vector))
        for number, of_device in vectors.items():
            self.vm.devices[number].fire(of_device)
        self.vm.handle_interrupts()

    def send_sgis(self, sgis: Iterable[Delivery]) -> None:
        """vCPUs send SGIs to vCPUs (ICC_SGI1R_EL1), each given as (target, number); as for `fire`, once is enough."""
        for vcpu, number in sgis:
            self.sgis.add((vcpu, number))
            self.vm.vgic.send_sgi(vcpu, number)

    def mask(self, event: Event) -> None:
        """The guest disables an interrupt; it may become pending, and is not delivered."""
        self.masked.add(event)
        self._configure(event, MASKED)

    def unmask(self, event: Event) -> None:
        """The reverse."""
        self.masked.discard(event)
        self._configure(event, UNMASKED)

    def move(self, event: Event, vcpu: int) -> None:
        """The guest gives an interrupt another affinity (MOVI); if it is pending, it is so on the other vCPU then."""
        self.targets[event] = (vcpu, self.targets[event][1])
        self._command("MOVI", event, ICID=vcpu)

    def reset_device(self, number: int) -> None:
        """A function level reset: the vectors are disabled and enabled again. What was pending is void."""
        self.pending.difference_update(self.events_of(number))
        self.vm.devices[number].unforward(self.vm.vgic)
        self.vm.devices[number].forward(self.vm.vgic)

    def remap(self, event: Event) -> None:
        """The guest unmaps an interrupt and maps it again (DISCARD, MAPTI); what was pending is void.

        VFIO does not notice, so that from now on software injects it (Linux vgic-v4.c, its introduction).
        """
        self.retire([event])
        self._command("DISCARD", event)
        self._map(event)

    def retire(self, events: Iterable[Event]) -> None:
        """What a guest does before it unmaps interrupts: it disables them, and waits.

        KVM delivers what is queued for a vCPU, unmapped or not, until that vCPU has left its guest with the interrupt
        disabled (`gicmodel.kvm.ap_list`).
        """
        for event in events:
            self.pending.discard(event)
            self._configure(event, MASKED)
            self._write_configuration(event, MASKED if event in self.masked else UNMASKED)
        for vcpu in range(self.vm.vcpus):
            self.vm.vgic.sync_hwstate(vcpu)

    def reload_driver(self, number: int, discard: bool = True) -> None:
        """The guest unloads a device's driver and loads it again; what was pending is void.

        The vectors are disabled, the device is unmapped, and its events before it if `discard`; it is mapped anew with
        a table that the guest has cleared, and the vectors are enabled.
        """
        device, vgic = self.vm.devices[number], self.vm.vgic
        mapped = vgic.its[0].devices[device.guest_device_id]
        events = self.events_of(number)
        device.unforward(vgic)
        self.retire(events)
        for event in events if discard else ():
            self._command("DISCARD", event)
        table = {"ITT_addr": mapped.itt_addr, "Size": mapped.num_eventid_bits - 1}
        send_command(vgic, "MAPD", DeviceID=device.guest_device_id, V=0)
        self.vm.memory.zero(mapped.itt_addr, KVM_ITE.bytes << mapped.num_eventid_bits)
        send_command(vgic, "MAPD", DeviceID=device.guest_device_id, V=1, **table)
        for event in events:
            self._map(event)
        device.forward(vgic)

    def events_of(self, number: int) -> list[Event]:
        """The events of one device."""
        return [event for event in self.targets if event[0] == number]

    def run_on(self, first_cpu: int) -> None:
        """The host's scheduler moves the vCPUs to other CPUs, and their vPEs with them."""
        self.vm.pause_vcpus()
        self.vm.run_vcpus(first_cpu)

    def owed(self, vcpus: Iterable[int]) -> Counter[Delivery]:
        """What these vCPUs are about to take; it is not pending any more."""
        running = set(vcpus)
        due = {event for event in self.pending - self.masked if self.targets[event][0] in running}
        due_sgis = {sgi for sgi in self.sgis if sgi[0] in running}
        self.pending -= due
        self.sgis -= due_sgis
        return Counter(self.targets[event] for event in due) + Counter(due_sgis)

    def fire_some(self, rng: np.random.Generator, fraction: float) -> None:
        """Each interrupt is raised with probability `fraction`."""
        raised = rng.random(len(self.targets)) < fraction
        self.fire(event for event, chosen in zip(self.targets, raised.tolist(), strict=True) if chosen)

    def send_some_sgis(self, rng: np.random.Generator, fraction: float) -> None:
        """Each SGI of each vCPU is sent with probability `fraction`."""
        sent = rng.random((self.vm.vcpus, VSGIS)) < fraction
        self.send_sgis((vcpu, number) for vcpu, number in np.argwhere(sent).tolist())

    def stir(self, rng: np.random.Generator, fraction: float) -> None:
        """An eventful while: masks, affinities, mappings, other CPUs, resets, and interrupts before and after."""
        self.run_on(int(rng.integers(self.vm.host.cpus)))
        self.fire_some(rng, fraction)
        if not self.targets:
            return
        events = list(self.targets)
        for event in _some(rng, events):
            self.mask(event)
        for event in _some(rng, sorted(self.masked)):
            self.unmask(event)
        for event in _some(rng, events):
            self.move(event, int(rng.integers(self.vm.vcpus)))
        for event in _some(rng, events):
            self.remap(event)
        self.reload_driver(int(rng.integers(len(self.vm.devices))))
        forwarded = [n for n, device in enumerate(self.vm.devices) if device.is_forwarded(self.vm.vgic)]
        for number in forwarded[:1]:
            self.reset_device(number)
        self.run_on(int(rng.integers(self.vm.host.cpus)))
        self.fire_some(rng, fraction)

    def begin(self, rng: np.random.Generator, fraction: float) -> None:
        """Some interrupts are raised, SGIs too."""
        self.fire_some(rng, fraction)
        self.send_some_sgis(rng, fraction)

    def go_on(self, rng: np.random.Generator, fraction: float) -> None:
        """The VM runs for an eventful while."""
        self.stir(rng, fraction)
        self.send_some_sgis(rng, fraction)

    def unmask_all(self) -> None:
        """The guest enables every interrupt."""
        for event in sorted(self.masked):
            self.unmask(event)

    def _map(self, event: Event) -> None:
        """The guest maps an event to the INTID and the vCPU that it has for it; vCPU n has collection n."""
        vcpu, intid = self.targets[event]
        self._command("MAPTI", event, pINTID=intid, ICID=vcpu)

    def _configure(self, event: Event, octet: int) -> None:
        self._write_configuration(event, octet)
        self._command("INV", event)

    def _write_configuration(self, event: Event, octet: int) -> None:
        _, intid = self.targets[event]
        self.vm.memory.write_u8(self.vm.vgic.dist.configuration_table + intid - FIRST_LPI, octet)

    def _command(self, mnemonic: str, event: Event, **fields: int) -> None:
        device = self.vm.devices[event[0]]
        fields |= {"DeviceID": device.guest_device_id, "EventID": device.events[event[1]]}
        send_command(self.vm.vgic, mnemonic, **fields)


class SavedWorkload(Workload):
    """A guest that was saved with these interrupts `pending`, as (vCPU, INTID).

    What its drivers do is not known: only the host's scheduler is at work.
    """

    def __init__(self, vm: VirtualMachine, pending: Iterable[Delivery]) -> None:
        super().__init__(vm)
        pending = set(pending)
        self.sgis = {found for found in pending if found[1] < VSGIS}
        events = {target: event for event, target in self.targets.items()}
        self.pending = {event for target, event in events.items() if target in pending}

    def begin(self, rng: np.random.Generator, fraction: float) -> None:
        """It has begun already."""

    def go_on(self, rng: np.random.Generator, fraction: float) -> None:
        """vCPUs move to other CPUs."""
        self.run_on(int(rng.integers(self.vm.host.cpus)))


def _some(rng: np.random.Generator, events: list[Event]) -> list[Event]:
    """About every eighth event, at least one if there are any."""
    if not events:
        return []
    chosen = rng.choice(len(events), size=-(-len(events) // 8), replace=False)
    return [events[number] for number in chosen.tolist()]
