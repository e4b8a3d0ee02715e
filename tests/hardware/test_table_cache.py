# SPDX-License-Identifier: Apache-2.0
"""caching="retain": what a GIC may keep is used until it is obliged to look again; caching="none" always looks.

Each row is an object, a way in which software changes it behind the GIC's back, and everything that must make the
GIC see the change.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware.kernels.entries import (
    ENTRY_VALID,
    KIND_CTE,
    KIND_DTE,
    KIND_ITE,
    KIND_VPE,
    KIND_VPE_CONFIGURATION,
    cache_line,
    cache_tag,
    ite_identifier,
)
from gicmodel.layouts.its_tables import CTE, DTE, ITE, LEVEL1, VPE_CONFIGURATION, VTE
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.redistributor import GICR_INVALLR, GICR_INVLPIR
from tests.hardware.bench import DEVICE_TABLES, DISABLED, NO_DOORBELL, PROPERTIES, SPARE, Bench, furnished

LPI, VLPI = FIRST_LPI + 3, FIRST_LPI + 5
EVENT, VIRTUAL = {"DeviceID": 1, "EventID": 7}, {"DeviceID": 1, "EventID": 8}
Action = Callable[[Bench], object]


def warm(caching: str = "retain", architecture: str = "4.1", **choices: object) -> Bench:
    """Event 7 is an LPI, event 8 a vLPI of vPE 0; both were used, so that all that leads to them is cached."""
    bench = furnished(caching=caching, architecture=architecture, **choices)
    bench.map_lpi(7, LPI)
    bench.map_vpe()
    bench.map_vlpi(8, VLPI)
    assert (physical(bench), virtual(bench)) == ([LPI, 1023], VLPI)
    return bench


def physical(bench: Bench) -> list[int]:
    """The LPIs that PEs 0 and 1 take after event 7."""
    bench.gic.its[0].translate(1, 7)
    return [redistributor.cpu.acknowledge() for redistributor in bench.gic.redistributors[:2]]


def virtual(bench: Bench) -> int:
    """The vLPI that vPE 0 takes after event 8."""
    bench.schedule()
    bench.gic.its[0].translate(1, 8)
    taken = bench.gic.redistributors[0].cpu.acknowledge_virtual()
    bench.deschedule(pending_last=1)
    return taken


def restart(bench: Bench) -> None:
    """GITS_CTLR.Enabled 1 to 0 and back."""
    bench.enable_its(False)
    bench.enable_its(True)


class Row(NamedTuple):
    """`edit` changes the object in RAM; `seen` gives `old` before it and `new` after any of `invalidations`."""

    edit: Action
    seen: Action
    old: object
    new: object
    invalidations: dict[str, Action]


def edit_dte(bench: Bench) -> None:
    """The device gets an ITT whose event 7 is another LPI."""
    bench.memory.write(SPARE + 7 * ITE.bytes, ITE.build(Valid=1, IntType=1, IntID=LPI + 1, Doorbell=NO_DOORBELL))
    bench.memory.write_u64(DEVICE_TABLES + 8, DTE.pack(Valid=1, Size=4, ITT_addr=SPARE))


def edit_level1(bench: Bench) -> None:
    """The device table's first level 2 page moves."""
    edit_dte(bench)
    bench.memory.write_u64(SPARE + 0x1000 + 8, DTE.pack(Valid=1, Size=4, ITT_addr=SPARE))
    bench.memory.write_u64(DEVICE_TABLES, LEVEL1.pack(Valid=1, Physical_Address=SPARE + 0x1000))


def edit_ite(bench: Bench) -> None:
    bench.memory.write(bench.itt(1) + 7 * ITE.bytes, ITE.build(Valid=1, IntType=1, IntID=LPI + 1))


def edit_cte(bench: Bench) -> None:
    bench.memory.write_u64(bench.collection_table(), CTE.pack(Valid=1, RDbase=1))


def disable(table: str, intid: int) -> Action:
    where = {"physical": lambda bench: PROPERTIES, "virtual": lambda bench: bench.vconf()}[table]
    return lambda bench: bench.configure(where(bench), intid, DISABLED)


def run(mnemonic: str, **fields: int) -> Action:
    return lambda bench: bench.run(mnemonic, **fields)


def write_rd(name: str, value: int) -> Action:
    return lambda bench: bench.write_rd(name, value)


REMAP = {"Size": 4, "V": 1}
ROWS = {
    "DTE": Row(
        edit_dte,
        physical,
        [LPI, 1023],
        [LPI + 1, 1023],
        {"MAPD": lambda bench: bench.run("MAPD", DeviceID=1, ITT_addr=SPARE, **REMAP), "disable": restart},
    ),
    "ITE": Row(
        edit_ite,
        physical,
        [LPI, 1023],
        [LPI + 1, 1023],
        {"MAPD": lambda bench: bench.map_device(), "disable": restart},
    ),
    "CTE": Row(
        edit_cte,
        physical,
        [LPI, 1023],
        [1023, LPI],
        {"MAPC": run("MAPC", RDbase=1, V=1), "disable": restart},
    ),
    "LPI configuration": Row(
        disable("physical", LPI),
        physical,
        [LPI, 1023],
        [1023, 1023],
        {
            "INV": run("INV", **EVENT),
            "INVALL": run("INVALL", ICID=0),
            "INVLPIR": write_rd("INVLPIR", LPI),
            "INVALLR": write_rd("INVALLR", 0),
        },
    ),
    "vLPI configuration": Row(
        disable("virtual", VLPI),
        virtual,
        VLPI,
        1023,
        {
            "INV": run("INV", **VIRTUAL),
            "VINVALL": run("VINVALL"),
            "INVLPIR": write_rd("INVLPIR", GICR_INVLPIR.pack(V=1, INTID=VLPI)),
            "INVALLR": write_rd("INVALLR", GICR_INVALLR.pack(V=1)),
            "VMAPP": lambda bench: (bench.unmap_vpe(), bench.map_vpe()),
        },
    ),
}
CASES = [(row, how) for row in ROWS for how in ROWS[row].invalidations]


@pytest.mark.parametrize(("row", "how"), CASES)
def test_stale_before_fresh_after(row, how):
    edit, seen, old, new, invalidations = ROWS[row]
    bench = warm()
    edit(bench)
    assert seen(bench) == old
    invalidations[how](bench)
    assert seen(bench) == new


@pytest.mark.parametrize("row", ROWS)
def test_without_caching_it_is_fresh_at_once(row):
    bench = warm("none")
    ROWS[row].edit(bench)
    assert ROWS[row].seen(bench) == ROWS[row].new


def test_level_1_entries_are_kept_with_what_they_lead_to():
    bench = warm(indirect=True)
    edit_level1(bench)
    assert physical(bench) == [LPI, 1023]
    restart(bench)
    assert physical(bench) == [LPI + 1, 1023]


def test_an_invalid_level_1_entry_is_not_kept():
    """Software may make one valid without telling the ITS (IHI0069, two-level tables)."""
    bench = furnished(caching="retain", indirect=True)
    bench.memory.write_u64(DEVICE_TABLES + 8, 0)
    assert bench.refused("INT", DeviceID=600) == 0x010304
    bench.memory.write_u64(DEVICE_TABLES + 8, LEVEL1.pack(Valid=1, Physical_Address=DEVICE_TABLES + 0x2000))
    bench.run("MAPD", DeviceID=600, ITT_addr=bench.itt(), **REMAP)
    assert bench.refused("INT", DeviceID=600) == 0x010307


@pytest.mark.parametrize("how", ["MAPTI", "MAPI", "MOVI", "DISCARD", "VMAPTI", "VMAPI", "VMOVI"])
def test_a_command_about_an_event_drops_its_ite(how):
    """What the command stores is in force, not what was cached."""
    bench = warm()
    bench.run("MAPD", DeviceID=2, Size=13, ITT_addr=bench.itt(2), V=1)
    event = {"DeviceID": 2, "EventID": LPI}
    if how == "VMOVI":
        bench.run("VMAPTI", **event, vINTID=LPI + 9, Doorbell=NO_DOORBELL)
    else:
        bench.run("MAPTI", **event, pINTID=LPI + 9)
    bench.run("INT", **event)
    fields = {"MAPTI": {"pINTID": LPI}, "MOVI": {"ICID": 1}, "VMAPTI": {"vINTID": LPI}, "VMOVI": {"vPEID": 1}}
    bench.map_vpe(1)
    doorbell = {"Doorbell": NO_DOORBELL} if how.startswith("VMAP") else {}
    bench.run(how, **event, **fields.get(how, {}), **doorbell)
    stored = ITE.unpack(ITE.words_of(bench.memory.read(bench.itt(2) + LPI * ITE.bytes, ITE.bytes))[0])
    if how == "DISCARD":
        assert bench.refused("INT", **event) == 0x010307
        return
    assert stored["IntType"] == (how[0] != "V")
    assert stored["IntID"] == (LPI + 9 if "MOV" in how else LPI)
    assert (stored["ICID"], stored["vPEID"]) == (how == "MOVI", how == "VMOVI")
    bench.run("INT", **event)


def test_a_mapd_forgets_the_device_but_not_its_neighbour():
    bench = warm()
    bench.map_device(2)
    bench.map_lpi(7, LPI + 5, device_id=2)
    bench.gic.its[0].translate(2, 7)
    bench.memory.zero(bench.itt(2) + 7 * ITE.bytes, ITE.bytes)
    edit_ite(bench)
    bench.run("MAPD", DeviceID=1, V=0)
    bench.map_device(1)
    assert physical(bench) == [LPI + 1, 1023]
    assert bench.gic.its[0].translate(2, 7) == 0, "still cached"
    bench.run("MAPD", DeviceID=2, V=0)
    assert bench.gic.its[0].translate(2, 7) != 0


def test_lpis_off_and_on_forget_the_configuration():
    bench = warm()
    bench.configure(PROPERTIES, LPI, DISABLED)
    bench.enable_lpis(False)
    bench.enable_lpis(True)
    assert physical(bench) == [1023, 1023]


def test_invall_of_another_collection_forgets_nothing():
    bench = warm()
    bench.configure(PROPERTIES, LPI, DISABLED)
    bench.run("INVALL", ICID=1)
    bench.write_rd("INVALLR", 0, rd=1)
    bench.write_rd("INVLPIR", LPI, rd=1)
    assert physical(bench) == [LPI, 1023]


def test_a_cache_of_one_line_still_works():
    bench = warm(table_cache_lines=1)
    for _ in range(3):
        assert physical(bench) == [LPI, 1023]


def test_events_beyond_the_its_width_do_not_share_a_line():
    """A DTE in RAM may claim more EventID bits than GITS_TYPER.ID_bits."""
    bench = warm()
    bench.run("MAPD", DeviceID=1, V=0)
    bench.memory.write_u64(DEVICE_TABLES + 8, DTE.pack(Valid=1, Size=31, ITT_addr=bench.itt(1)))
    assert bench.refused("INT", DeviceID=1, EventID=1 << 24 | 7) == 0x010305
    assert bench.refused("INT", DeviceID=1, EventID=1 << 16) == 0x010305


def test_entries_that_software_uses_together_have_lines_of_their_own():
    """The lowest IDs of every kind, in a cache of the default size."""
    machine = Bench(caching="retain", table_cache_lines=GicConfig().table_cache_lines).gic.machine
    kinds = (KIND_DTE, KIND_CTE, KIND_VPE, KIND_VPE_CONFIGURATION)
    tags = [cache_tag(kind, owner, np.uint64(n)) for kind in kinds for owner in range(2) for n in range(64)]
    events = [ite_identifier(np.uint64(device), np.uint64(event)) for device in range(8) for event in range(64)]
    tags += [cache_tag(KIND_ITE, 0, np.uint64(event)) for event in events]
    assert len({cache_line(machine, np.uint64(tag)) for tag in tags}) == len(tags)


def test_the_cache_asks_every_kind_of_entry_for_the_same_bit():
    assert {entry["Valid"] for entry in (DTE, CTE, ITE, VTE, VPE_CONFIGURATION)} == {ENTRY_VALID}
