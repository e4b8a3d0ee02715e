# SPDX-License-Identifier: Apache-2.0
"""Which redistributor an RDbase names: by number or by address, and only what is known to be none is none."""

import pytest

from gicmodel.hardware import save_snapshot
from gicmodel.images.sources import read_dump, read_registers
from gicmodel.inspection import PROFILES, inspect
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.inspection.rules import find
from gicmodel.inspection.views import vpes
from gicmodel.layouts.registers.its import GITS_TYPER
from gicmodel.layouts.registers.redistributor import GICR_TYPER
from tests.hardware.bench import furnished
from tests.inspection.machine import VPT1, Machine, SavedGuest

RDBASE = {"collection-rdbase", "vpe-rdbase"}


def without(frame, *names):
    def change(machine):
        for name in names or [*machine.registers[frame]]:
            del machine.registers[frame][name]

    return change


NOT_GIVEN = {
    "the other redistributor": lambda m: m.registers.pop("GICR1"),
    "the first redistributor": lambda m: m.registers.pop("GICR0"),
    "any redistributor": lambda m: (m.registers.pop("GICR0"), m.registers.pop("GICR1")),
    "which is the last": without("GICR1", "TYPER"),
    "the last": lambda m: m.set("GICR1", "TYPER", GICR_TYPER, Last=0),
}


@pytest.mark.parametrize("name", NOT_GIVEN)
def test_what_is_not_given_is_not_absent(name):
    """A healthy machine whose registers were read on one CPU was told to have mapped everything to nowhere."""
    machine = Machine()
    NOT_GIVEN[name](machine)
    machine.command(3, "MAPC", ICID=2, RDbase=7, V=1)
    machine.queue(3, 4, stalled=1)
    machine.vpe(1, VPT1, RDbase=7)
    found = find(machine.inspect())
    assert not RDBASE & set(found.counts)
    (stalled,) = [finding.sentence for finding in found.told if finding.rule.identifier == "queue-stalled"]
    assert stalled.endswith(": no reason is seen in the tables")


def test_the_vcpus_of_a_guest_are_all_there_are():
    guest = SavedGuest()
    del guest.registers["GICR0"], guest.registers["GICR1"]
    assert not RDBASE & set(find(guest.inspect()).counts)
    guest.collection(1, 2)
    assert find(guest.inspect()).counts["collection-rdbase"] == 1


def test_without_gits_typer_a_command_may_mean_an_address():
    machine = Machine()
    machine.command(3, "MAPC", ICID=2, RDbase=7, V=1)
    machine.queue(3, 4, stalled=1)
    del machine.registers["GITS0"]["TYPER"]
    (stalled,) = [one.sentence for one in find(machine.inspect()).told if one.rule.identifier == "queue-stalled"]
    assert stalled.endswith(": no reason is seen in the tables")


def snapshot(tmp_path, bench):
    save_snapshot(bench.gic, tmp_path / "machine.npz")
    return read_dump(tmp_path / "machine.npz"), read_registers(tmp_path / "machine.npz")


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
@pytest.mark.parametrize(("operand", "wrong"), [("RDbase", 0), ("RDbase2", 0), ("RDbase", 1), ("RDbase2", 1)])
def test_the_operand_that_is_wrong_is_named(tmp_path, architecture, operand, wrong):
    """With PTA = 1: the one that is right was named, for its address is no processor number."""
    bench = furnished(architecture=architecture, pta=True)
    right = {"RDbase": bench.rdbase(1), "RDbase2": bench.rdbase(0)}
    bad = 1 if wrong else bench.rdbase(1) + 1  # a processor number, or the redistributor's second frame
    bench.queue_command("MOVALL", **(right | {operand: bad}))
    bench.ring()
    dump, registers = snapshot(tmp_path, bench)
    (stalled,) = [one.sentence for one in find(inspect(dump, registers)).told if one.rule.identifier == "queue-stalled"]
    assert stalled.endswith(f": {operand} {bad:#x} is no redistributor")
    for frame in registers:
        registers[frame].pop("RD_base", None)
    (stalled,) = [one.sentence for one in find(inspect(dump, registers)).told if one.rule.identifier == "queue-stalled"]
    assert stalled.endswith(": no reason is seen in the tables"), "nothing tells where redistributors are"


@pytest.mark.parametrize("architecture", ["4.0", "4.1"])
@pytest.mark.parametrize("pta", [False, True])
def test_vpes_that_the_queue_has_mapped_are_where_the_command_says(tmp_path, architecture, pta):
    bench = furnished(architecture=architecture, pta=pta)
    for vpe_id, rd in ((0, 2), (1, 1)):
        bench.map_vpe(vpe_id, rd)
    dump, registers = snapshot(tmp_path, bench)
    assert any("RD_base" in values for values in registers.values()) == pta
    found = inspect(dump, registers, PROFILES["opaque"])
    assert found.vpes["RDbase"].tolist() == [2, 1]
    assert not RDBASE & set(find(found).counts)
    for frame in registers:
        registers[frame].pop("RD_base", None)
    found = inspect(dump, registers, PROFILES["opaque"])
    assert found.vpes["RDbase"].tolist() == ([UNKNOWN, UNKNOWN] if pta else [2, 1])
    assert not RDBASE & set(find(found).counts)
    (column,) = [column for column in vpes(found, found.vpes).columns if column.name == "RDbase"]
    assert column.plain(0, 2) == ([None, None] if pta else [2, 1])


def test_a_vpe_that_the_queue_has_mapped_nowhere():
    machine = Machine()
    machine.command(0, "VMAPP", vPEID=1, VPT_addr=VPT1, VPT_size=15, RDbase=5, V=1)
    machine.queue(1, 1)
    assert find(machine.inspect(profile=PROFILES["opaque"])).counts["vpe-rdbase"] == 1
    machine.set("GITS0", "TYPER", GITS_TYPER, PTA=1)
    assert not RDBASE & set(find(machine.inspect(profile=PROFILES["opaque"])).counts)
