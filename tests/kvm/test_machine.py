# SPDX-License-Identifier: Apache-2.0
"""One VM on one host, whatever its guest, its devices and its monitor do, against an oracle of sets.

The invariant: an interrupt that is pending is delivered once when its vCPU runs and it is enabled, no other is, and
after a save the pending tables in guest RAM hold the oracle's bits.
"""

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from gicmodel.kvm import NEWEST
from gicmodel.kvm.forwarding import Forwarding
from tests.kvm.forwarded import DEVICE, EVENTS, ForwardedGuest
from tests.kvm.guest import DEFAULT_BYTE, pending_table, without
from tests.kvm.host import Host

VCPUS, CPUS = 4, 4
FIRST_LPI, TABLE_BYTES = 8192, 8192
event_ids, vcpus = st.integers(0, EVENTS - 1), st.integers(0, VCPUS - 1)
event_sets = st.sets(event_ids, min_size=1)
icids = st.sampled_from([2, 3])


class OneVm(RuleBasedStateMachine):
    """The oracle: `icid` of each mapped event, `vcpu` of each collection, `vcpu_of` each LPI, and sets of LPIs.

    `queued` are on an ap_list and live without their events; `off` have their configuration byte off in guest RAM,
    `masked` had it when it was last read. `ram` holds (vCPU, INTID) of the bits that are set in the pending tables.
    """

    @initialize(
        caching=st.sampled_from(["none", "retain"]), writeback=st.sampled_from(["unmap", "deschedule", "immediate"])
    )
    def boot(self, caching, writeback):
        self.guest = ForwardedGuest(Host(caching=caching, vpt_writeback=writeback), self.behaviour)
        self.icid = {event_id: 2 + event_id % 2 for event_id in range(EVENTS)}
        self.vcpu = {2: 2, 3: 3}
        self.vcpu_of = {FIRST_LPI + event_id: self.vcpu[icid] for event_id, icid in self.icid.items()}
        self.pending, self.masked, self.forwarded, self.ram = set(), set(), set(), set()
        self.queued, self.off = set(), set()

    def __init__(self, behaviour=NEWEST):
        super().__init__()
        self.behaviour = behaviour

    def mapped(self, event_id):
        return event_id in self.icid

    def in_software(self, intid):
        return intid in self.pending and intid - FIRST_LPI not in self.forwarded

    def deliverable(self):
        return {intid for intid in self.vcpu_of if self.in_software(intid) and intid not in self.masked}

    def queue(self, intid):
        """What software may deliver comes onto a list, when something happens to it."""
        self.queued |= {intid} & self.deliverable()

    def drop(self, intids):
        """What is on no list and has no event is gone."""
        for intid in set(intids) - self.queued - {FIRST_LPI + event_id for event_id in self.icid}:
            self.vcpu_of.pop(intid, None)
            self.pending.discard(intid)

    def unmap(self, event_ids):
        """What is pending in the GIC is lost with its event."""
        for event_id in event_ids:
            self.icid.pop(event_id, None)
            if event_id in self.forwarded:
                self.forwarded.remove(event_id)
                self.pending.discard(FIRST_LPI + event_id)
        self.drop(FIRST_LPI + event_id for event_id in event_ids)

    def prune(self):
        """All vCPUs have left their guests."""
        self.queued &= self.deliverable()
        self.drop(list(self.vcpu_of))

    def command(self, mnemonic, event_id, **operands):
        self.guest.command(mnemonic, DeviceID=DEVICE, EventID=event_id, **operands)

    def hosts(self, events):
        return [(self.guest.host_device, event_id) for event_id in sorted(events)]

    # --- devices and the guest's own interrupts ---

    @rule(events=event_sets)
    def devices_fire(self, events):
        self.guest.vgic.transfer_pending()  # Devices run only in a VM that has been started.
        for event_id in sorted(events & self.icid.keys()):
            if event_id in self.forwarded:
                self.guest.fire(event_id)
            else:
                assert self.guest.vgic.inject_msi(DEVICE, event_id) == 1
            self.pending.add(FIRST_LPI + event_id)
            self.queue(FIRST_LPI + event_id)

    @rule(event_id=event_ids, pending=st.booleans())
    def guest_sets_or_clears(self, event_id, pending):
        self.guest.vgic.transfer_pending()
        self.command("INT" if pending else "CLEAR", event_id)
        if self.mapped(event_id):
            (self.pending.add if pending else self.pending.discard)(FIRST_LPI + event_id)
            self.queue(FIRST_LPI + event_id)

    # --- the guest's configuration ---

    @rule(event_id=event_ids, masked=st.booleans())
    def guest_masks(self, event_id, masked):
        self.guest.vgic.transfer_pending()
        self.guest.configure(FIRST_LPI + event_id, DEFAULT_BYTE & ~masked)
        self.command("INV", event_id)
        (self.off.add if masked else self.off.discard)(FIRST_LPI + event_id)
        if self.mapped(event_id):
            self.read_configuration(FIRST_LPI + event_id)

    def read_configuration(self, intid):
        (self.masked.add if intid in self.off else self.masked.discard)(intid)
        self.queue(intid)

    @rule(event_id=event_ids, icid=icids)
    def movi(self, event_id, icid):
        self.command("MOVI", event_id, ICID=icid)
        if self.mapped(event_id):
            self.icid[event_id] = icid
            self.vcpu_of[FIRST_LPI + event_id] = self.vcpu[icid]

    @rule(icid=icids, vcpu=vcpus)
    def mapc(self, icid, vcpu):
        self.guest.mapc(icid, vcpu)
        self.vcpu[icid] = vcpu
        self.vcpu_of |= {FIRST_LPI + event_id: vcpu for event_id, its in self.icid.items() if its == icid}

    @rule(source=vcpus, destination=vcpus)
    def movall(self, source, destination):
        self.guest.command("MOVALL", RDbase=source, RDbase2=destination)
        self.vcpu_of = {intid: destination if vcpu == source else vcpu for intid, vcpu in self.vcpu_of.items()}

    @rule(event_id=event_ids)
    def discard(self, event_id):
        self.guest.vgic.transfer_pending()
        self.command("DISCARD", event_id)
        self.unmap([event_id])

    @rule(event_id=event_ids, icid=icids)
    def mapti(self, event_id, icid):
        self.guest.mapti(DEVICE, event_id, FIRST_LPI + event_id, icid)
        if not self.mapped(event_id):
            self.icid[event_id] = icid
            self.load(FIRST_LPI + event_id, self.vcpu[icid])

    # --- the monitor ---

    @rule(events=event_sets, transfer=st.booleans())
    def set_forwarding(self, events, transfer):
        vectors = sorted(events), self.guest.host_device, sorted(events)
        new = (events & self.icid.keys()) - self.forwarded
        assert self.guest.vgic.set_forwarding_many(0, DEVICE, *vectors, transfer) == len(new)
        self.forwarded |= new

    @rule(events=event_sets)
    def unset_forwarding(self, events):
        self.guest.vgic.forwarding.devices_stopped = True
        ended = self.guest.vgic.unset_forwarding_many(self.hosts(events), retrieve=True)
        self.guest.vgic.forwarding.devices_stopped = False
        ended_events = events & self.forwarded
        assert ended == len(ended_events)
        self.forwarded -= events
        for event_id in ended_events:
            self.queue(FIRST_LPI + event_id)

    @rule(vcpu=vcpus, cpu=st.integers(0, CPUS - 1))
    def run_vcpu(self, vcpu, cpu):
        self.guest.vgic.transfer_pending()
        taken = self.guest.vlpis(vcpu, cpu) + self.guest.vgic.acknowledge_all(vcpu)
        self.prune()
        due = {intid for intid in self.pending - self.masked if self.vcpu_of[intid] == vcpu}
        assert sorted(taken) == sorted(due)
        self.pending -= due
        self.prune()

    @rule(lpi_by_lpi=st.booleans())
    def save(self, lpi_by_lpi):
        self.guest.its.save_tables()
        self.guest.vgic.save_pending_tables(lpi_by_lpi)
        for intid, vcpu in self.vcpu_of.items():
            (self.ram.add if intid in self.pending else self.ram.discard)((vcpu, intid))
        assert self.bits_in_ram() == self.ram

    @precondition(lambda self: self.collections_tell_the_vcpus())
    @rule(lpi_by_lpi=st.booleans())
    def save_and_restore(self, lpi_by_lpi):
        """Not after a MOVALL that no table knows of: the ITEs' collections say where the LPIs are."""
        self.save(lpi_by_lpi)
        self.guest.restart_its()
        self.guest.its.restore_tables()
        self.guest.enable_its()
        assert {event_id for _, event_id in self.guest.mappings()[0]} == self.icid.keys()
        mapped = dict(self.icid)
        self.unmap(mapped)
        for event_id, icid in mapped.items():
            self.icid[event_id] = icid
            self.load(FIRST_LPI + event_id, self.vcpu[icid])
        assert self.bits_in_ram() == self.ram

    def collections_tell_the_vcpus(self):
        return all(self.vcpu_of[FIRST_LPI + event_id] == self.vcpu[icid] for event_id, icid in self.icid.items())

    def load(self, intid, vcpu):
        """A new LPI takes its bit out of RAM; one that is on a list is as it was."""
        if intid in self.vcpu_of:
            return
        self.vcpu_of[intid] = vcpu
        if (vcpu, intid) in self.ram:
            self.ram.remove((vcpu, intid))
            self.pending.add(intid)
        self.read_configuration(intid)

    def bits_in_ram(self):
        tables = [self.guest.memory.view(pending_table(vcpu), TABLE_BYTES, np.uint8) for vcpu in range(VCPUS)]
        found = np.argwhere(np.unpackbits(np.array(tables), axis=1, bitorder="little"))
        return {(vcpu, intid) for vcpu, intid in found.tolist()}

    def teardown(self):
        """In the end nothing is left pending, lost or in two places."""
        if not hasattr(self, "guest"):
            return
        for event_id in range(EVENTS):
            self.guest_masks(event_id, False)
        for _ in range(2):
            for vcpu in range(VCPUS):
                self.run_vcpu(vcpu, vcpu)
        assert not self.pending
        assert self.guest.host.gic.errors == []


TestOneVm = OneVm.TestCase
TestOneVm.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def finds_the_bug(behaviour=NEWEST):
    """Whether the machine, on the same way through it while the package's constants stay, comes to a contradiction."""
    search = settings(TestOneVm.settings, max_examples=400, derandomize=True, database=None, phases=[Phase.generate])
    try:
        run_state_machine_as_test(lambda: OneVm(behaviour), settings=search)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("fix", ["pending_byte_per_vcpu", "moves_pending_state", "movall_filters_source"])
def test_it_finds_what_linux_has_fixed(fix):
    assert finds_the_bug(without(fix))


def test_it_finds_pending_state_that_is_not_retrieved(monkeypatch):
    monkeypatch.setattr(Forwarding, "_retrieve", lambda self, slots: None)
    assert finds_the_bug()
