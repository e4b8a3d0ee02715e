# SPDX-License-Identifier: Apache-2.0
"""A driver at work on two GICs that software must not be able to tell apart; see `twin_hosts`.

To test a driver, subclass `DriverUnderCaching`, set `driver_class`, and run its `TestCase`. A command that the driver
leaves out is named in the failure.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, methodcaller
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.strategies import DataObject, SearchStrategy

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver
from gicmodel.fuzzing.hypothesis.strategies import configurations
from gicmodel.fuzzing.hypothesis.twin_hosts import MissingCommand, TwinHost, check
from gicmodel.layouts.lpi_tables import FIRST_LPI

CPUS, DEVICES, EVENTS, VCPUS = 2, 2, 4, 2
EVENT = st.tuples(st.integers(0, DEVICES - 1), st.integers(0, EVENTS - 1))
CPU = st.integers(0, CPUS - 1)
VCPU = st.integers(0, VCPUS - 1)
BYTES = st.sampled_from([0xA3, 0xA2, 0x13])
VSGIS = st.sampled_from([0, 15])
Event = tuple[int, int]
"""(DeviceID, EventID)."""


class DriverUnderCaching(RuleBasedStateMachine):
    """A host with a VM: interrupts fire, move, are masked and forwarded; vPEs run, move, and are mapped anew.

    A rule that makes no sense now does nothing. The VM has every forwarded event, as vINTID 8192 + its LPI's number.
    """

    driver_class: ClassVar[type[GicDriver]] = GicDriver
    hosts: tuple[TwinHost, TwinHost]

    @staticmethod
    def configurations() -> SearchStrategy[GicConfig]:
        """The GICs to drive."""
        return configurations(
            its=st.integers(1, 2),
            redistributors=CPUS,
            command_errors="stall",
            device_id_bits=4,
            event_id_bits=5,
            collection_id_bits=4,
            vpe_id_bits=4,
            intid_bits=14,
            direct_lpi=st.booleans(),
            vpt_cache_sets=1,
            table_cache_lines=256,
        )

    @initialize(data=st.data())
    def boot(self, data: DataObject) -> None:
        """Boot both, with devices on the last ITS whose events go to CPU 0, and with a VM if there are vLPIs."""
        config = data.draw(self.configurations(), "config")
        self.hosts = TwinHost(config, self.driver_class, late=False), TwinHost(config, self.driver_class, late=True)
        check(*self.hosts, "probe")
        for number in range(DEVICES):
            self.both("lpis.create_device", methodcaller("create_device", number, EVENTS))
            self.both("lpis.activate", methodcaller("activate_all", number))
        if config.virtual:
            self.both("vpes.create_vm", lambda host: host.driver.vpes.create_vm(VCPUS))

    @property
    def here(self) -> TwinHost:
        """One of the hosts, to ask what is mapped: the other driver knows the same."""
        return self.hosts[0]

    def both(self, name: str, operation: Callable[[TwinHost], object]) -> None:
        """Let both drivers do something, and compare."""
        for host in self.hosts:
            operation(host)
        check(*self.hosts, name)

    def same(self, name: str, operation: Callable[[TwinHost], object]) -> None:
        """The same, for something that both must answer alike."""
        plain, late = (operation(host) for host in self.hosts)
        check(*self.hosts, name)
        if plain != late:
            raise MissingCommand(f"{name}: {plain} against {late}")

    def of_event(self, name: str, event: Event, *values: int) -> None:
        """Let both drivers do an operation on an event."""
        self.both(name, lambda host: attrgetter(name)(host.driver)(*host.event(event), *values))

    def of_vpe(self, name: str, vcpu: int, *values: int) -> None:
        """Let both drivers do an operation on a vPE."""
        self.both(name, lambda host: attrgetter(name)(host.driver)(host.vpes[vcpu], *values))

    def physical(self, event: Event) -> bool:
        """Whether an event is mapped to a physical LPI."""
        device = self.here.device(event[0])
        return bool(device.mapped[event[1]] and not device.forwarded[event[1]])

    def forwarded(self, event: Event) -> bool:
        """Whether an event is mapped to a vLPI."""
        return bool(self.here.device(event[0]).forwarded[event[1]])

    # Physical LPIs.

    @rule(event=EVENT)
    def fire(self, event: Event) -> None:
        """A device writes GITS_TRANSLATER."""
        self.both("a device's write", lambda host: host.fire(*event))

    @rule(cpu=CPU)
    def take(self, cpu: int) -> None:
        """A CPU acknowledges an LPI."""
        self.same("ICC_IAR1", lambda host: host.gic.redistributors[cpu].cpu.acknowledge())

    @rule(event=EVENT, enable=st.booleans(), fire=st.booleans())
    def mask(self, event: Event, enable: bool, fire: bool) -> None:
        """lpis.mask or lpis.unmask, perhaps while it is pending."""
        if not self.physical(event):
            return
        if fire:
            self.fire(event)
        self.of_event("lpis.unmask" if enable else "lpis.mask", event)

    @rule(events=st.lists(EVENT, min_size=2, max_size=3, unique=True))
    def mask_in_one_batch(self, events: list[Event]) -> None:
        """Several lpis.mask, and one write of GITS_CWRITER."""
        chosen = [event for event in events if self.physical(event)]
        self.both("a batch of lpis.mask", lambda host: host.mask_all(chosen))

    @rule(event=EVENT, cpu=CPU)
    def move(self, event: Event, cpu: int) -> None:
        """lpis.set_affinity."""
        if self.physical(event):
            self.of_event("lpis.set_affinity", event, cpu)

    @rule(event=EVENT, cpu=CPU)
    def remap(self, event: Event, cpu: int) -> None:
        """lpis.deactivate, or lpis.activate."""
        if self.physical(event):
            self.of_event("lpis.deactivate", event)
        elif not self.forwarded(event):
            self.of_event("lpis.activate", event, cpu)

    @rule(event=EVENT, pending=st.booleans())
    def set_state(self, event: Event, pending: bool) -> None:
        """lpis.set_irqchip_state."""
        if self.physical(event) or self.forwarded(event):
            self.of_event("lpis.set_irqchip_state", event, pending)

    # vLPIs.

    @precondition(lambda self: self.here.vpes)
    @rule(event=EVENT, vcpu=VCPU, byte=BYTES)
    def forward(self, event: Event, vcpu: int, byte: int) -> None:
        """vlpis.map: a physical event is forwarded, a forwarded one moves to another vPE."""
        if self.physical(event) or self.forwarded(event):
            vintid = FIRST_LPI + EVENTS * event[0] + event[1]
            self.both(
                "vlpis.map",
                lambda host: host.driver.vlpis.map(*host.event(event), host.vpes[vcpu].vm, vcpu, vintid, byte),
            )

    @rule(event=EVENT)
    def unforward(self, event: Event) -> None:
        """vlpis.unmap."""
        if self.forwarded(event):
            self.of_event("vlpis.unmap", event)

    @rule(event=EVENT, byte=BYTES, fire=st.booleans())
    def update(self, event: Event, byte: int, fire: bool) -> None:
        """vlpis.prop_update."""
        if self.forwarded(event):
            if fire:
                self.fire(event)
            self.of_event("vlpis.prop_update", event, byte)

    @precondition(lambda self: self.here.vpes)
    @rule(vcpu=VCPU, byte=BYTES, fire=st.booleans())
    def update_all(self, vcpu: int, byte: int, fire: bool) -> None:
        """What KVM does for a guest's INVALL: write every byte of a vPE's vLPIs, then vpes.invall."""
        events = self.here.forwarded_to(vcpu)
        for event in events if fire else ():
            self.fire(event)
        self.both("vpes.invall", lambda host: host.update_all(vcpu, events, byte))

    # vPEs.

    @precondition(lambda self: self.here.vpes)
    @rule(vcpu=VCPU)
    def run(self, vcpu: int) -> None:
        """vpes.schedule, where the vPE is mapped."""
        vpe = self.here.vpes[vcpu]
        if vpe.resident_cpu is None and all(other.resident_cpu != vpe.col_idx for other in self.here.vpes):
            self.of_vpe("vpes.schedule", vcpu, vpe.col_idx)

    @precondition(lambda self: self.here.vpes)
    @rule(vcpu=VCPU, doorbell=st.booleans(), fire=st.booleans())
    def sleep(self, vcpu: int, doorbell: bool, fire: bool) -> None:
        """vpes.deschedule; then perhaps interrupts come for the vPE, which may ring its doorbell."""
        self.run(vcpu)
        if self.here.vpes[vcpu].resident_cpu is not None:
            self.same("vpes.deschedule", lambda host: host.deschedule(vcpu, doorbell))
            for event in self.here.forwarded_to(vcpu) if fire else ():
                self.fire(event)

    @rule(cpu=CPU)
    def take_virtual(self, cpu: int) -> None:
        """A vCPU acknowledges an interrupt."""
        self.same("ICV_IAR", lambda host: host.gic.redistributors[cpu].cpu.acknowledge_virtual())

    @precondition(lambda self: self.here.vpes)
    @rule(vcpu=VCPU, cpu=CPU)
    def move_vpe(self, vcpu: int, cpu: int) -> None:
        """vpes.set_affinity."""
        if self.here.vpes[vcpu].resident_cpu is None:
            self.of_vpe("vpes.set_affinity", vcpu, cpu)

    @precondition(lambda self: self.here.vpes and self.here.driver.vpes.eager)
    @rule(vcpu=VCPU)
    def map_anew(self, vcpu: int) -> None:
        """vpes.deactivate and vpes.activate, as when a VM is saved."""
        if self.here.vpes[vcpu].resident_cpu is None:
            self.of_vpe("vpes.deactivate", vcpu)
            self.of_vpe("vpes.activate", vcpu)

    @precondition(lambda self: self.here.driver.gic.is_v41)
    @rule(vcpu=VCPU, number=VSGIS, enable=st.booleans(), pending=st.booleans())
    def vsgi(self, vcpu: int, number: int, enable: bool, pending: bool) -> None:
        """Configure a vSGI, make it pending or not, and ask."""
        self.of_vpe("vsgis.configure", vcpu, number, enable, 1, 0xA0)
        self.of_vpe("vsgis.set_pending", vcpu, number, pending)
        self.same("vsgis.get_pending", lambda host: host.driver.vsgis.get_pending(host.vpes[vcpu], number))
