# SPDX-License-Identifier: Apache-2.0
"""Hostile software: table entries, commands and registers that now and then hold anything."""

from typing import TypeVar

from hypothesis import strategies as st

from gicmodel.layouts.commands import COMMANDS, OPCODES, encode
from gicmodel.layouts.its_tables import CTE, DTE, ITE, LEVEL1, VPE_CONFIGURATION, VTE
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.its import ITS_REGISTERS
from gicmodel.layouts.registers.redistributor import REDISTRIBUTOR_REGISTERS
from gicmodel.layouts.registers.register import Register
from tests.hardware.bench import ITTS, OUTSIDE, PENDING_TABLES, RAM, RAM_BYTES, SPARE, UNIT, VCONFS, VPTS, Bench

END = RAM + RAM_BYTES
ADDRESSES = (RAM, ITTS + UNIT, VPTS, VPTS + UNIT, VCONFS, PENDING_TABLES, SPARE, END - UNIT, END - 0x1000)
NOWHERE = (0, RAM - UNIT, END, OUTSIDE, 1 << 51 | RAM, (1 << 52) - UNIT)
NUMBERS = (0, 1, 2, 3, 4, 15, 16, 17, 31, 127, 128, 511, 512, 1023, 8191, 8192, 8193, 16383, 16384, 65535, 1 << 16)
NUMBERS += ((1 << 24) - 1, 1 << 24, (1 << 31) + 8192, (1 << 32) - 1)
INTIDS = (FIRST_LPI, FIRST_LPI + 1, FIRST_LPI + 64, (1 << 14) - 1)

TAME = {
    "DeviceID": (1, 1, 2),
    "EventID": (0, 1, 2, 8, 9, 10, FIRST_LPI),
    "ICID": (0, 1),
    "vPEID": (0, 1, 2),
    "pINTID": INTIDS,
    "vINTID": INTIDS,
    "IntID": INTIDS,
    "Doorbell": (1023, FIRST_LPI + 7),
    "Default_Doorbell": (1023, FIRST_LPI + 8),
    "Size": (4, 13),
    "VPT_size": (13,),
    "RDbase": (0, 1),
    "RDbase2": (0, 1),
    "IDbits": (13,),
}
"""Values that lead on; without them most commands end at their first check."""

CONFIGS = st.builds(
    dict,
    architecture=st.sampled_from(["3", "4.0", "4.1", "4.1", "4.1"]),
    its=st.sampled_from([1, 1, 2]),
    redistributors=st.sampled_from([2, 17]),
    command_errors=st.sampled_from(["ignore", "ignore", "stall"]),
    caching=st.sampled_from(["none", "retain"]),
    vpt_writeback=st.sampled_from(["unmap", "deschedule", "immediate"]),
    pending_writeback=st.sampled_from(["disable", "immediate"]),
    individual_doorbell=st.sampled_from(["edge", "every"]),
    commands_per_step=st.sampled_from([None, None, 3]),
    device_id_bits=st.sampled_from([2, 16, 24]),
    event_id_bits=st.sampled_from([5, 16, 24]),
    collection_id_bits=st.sampled_from([1, 16]),
    vpe_id_bits=st.sampled_from([2, 8, 16]),
    intid_bits=st.sampled_from([14, 15]),
    pta=st.booleans(),
    vmovp=st.booleans(),
    svpet=st.sampled_from([0, 1, 3]),
    common_lpi_aff=st.sampled_from([0, 1, 3]),
    nid=st.booleans(),
    ces=st.booleans(),
    hcc=st.sampled_from([0, 1]),
    vpt_cache_sets=st.sampled_from([1, 4]),
    table_cache_lines=st.sampled_from([1, 256]),
    indirect=st.booleans(),
)


def value_of(layout: Layout, name: str) -> st.SearchStrategy[int]:
    """A value of one field, mostly a tame one: an address where it holds one, a flag mostly 1, else a number."""
    field = layout[name]
    mask, scale = int(field.mask), int(field.scale)
    if mask == 1:
        return st.sampled_from([1, 1, 1, 0])
    tame: tuple[int, ...] = TAME.get(name, ())
    wild = tuple(number << scale for number in (*NUMBERS, mask) if number <= mask)
    if scale >= 8:
        tame, wild = (tuple(a >> scale << scale & mask << scale for a in group) for group in (ADDRESSES, NOWHERE))
    tame = tuple(number for number in tame if number <= mask << scale) or wild
    return st.sampled_from(tame * 4 * (1 + len(wild) // len(tame)) + wild)


def fields_of(layout: Layout) -> st.SearchStrategy[dict[str, int]]:
    """All fields of a structure."""
    return st.fixed_dictionaries({name: value_of(layout, name) for name in layout.fields if name != "Opcode"})


T = TypeVar("T")
ANYTHING = st.integers(0, (1 << 64) - 1)


def words(layout: Layout) -> st.SearchStrategy[tuple[int, ...]]:
    """A structure's words, or any words."""
    sane = fields_of(layout).map(lambda chosen: layout.pack_words(**chosen))
    return rarely(st.tuples(*[ANYTHING] * len(layout.word_bits)), sane)


def rarely(strange: st.SearchStrategy[T], usual: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """One of ten is strange."""
    return st.sampled_from([usual] * 9 + [strange]).flatmap(lambda chosen: chosen)


def command(architecture: str) -> st.SearchStrategy[tuple[int, ...]]:
    """Four words of a command, or any four words."""
    layouts = COMMANDS(architecture)

    def packet(mnemonic: str) -> st.SearchStrategy[tuple[int, ...]]:
        return fields_of(layouts[OPCODES[mnemonic]]).map(lambda chosen: encode(mnemonic, architecture, **chosen))

    mnemonics = [mnemonic for mnemonic, opcode in OPCODES.items() if opcode in layouts]
    return rarely(st.tuples(*[ANYTHING] * 4), st.sampled_from(mnemonics).flatmap(packet))


def poke(bench: Bench) -> st.SearchStrategy[tuple[int, bytes]]:
    """(address, bytes) of an entry that the hardware has written, or will read."""
    skip = 0x1000 if bench.indirect else 0
    vpe = VPE_CONFIGURATION if bench.config.v41 else VTE
    vpe_tables = {bench.vpe_table(number) for number in range(bench.config.its + 1)}
    places = [(bench.device_table() + skip + 8, DTE)]
    places += [(bench.collection_table() + skip + 8 * icid, CTE) for icid in (0, 1)]
    places += [(bench.itt(1) + 12 * event, ITE) for event in TAME["EventID"]]
    places += [(table + skip + vpe.bytes * number, vpe) for table in vpe_tables for number in (0, 1, 2)]
    if bench.indirect:
        places += [(table, LEVEL1) for table in (bench.device_table(), bench.collection_table(), *vpe_tables)]
    return st.sampled_from(places).flatmap(
        lambda place: words(place[1]).map(lambda entry: (place[0], in_memory(place[1], entry)))
    )


def in_memory(layout: Layout, entry: tuple[int, ...]) -> bytes:
    """The bytes of an entry's words."""
    widths = layout.word_bits
    parts = [(word & (1 << bits) - 1).to_bytes(bits // 8, "little") for word, bits in zip(entry, widths, strict=True)]
    return b"".join(parts)


def register_write(registers: tuple[Register, ...], architecture: str) -> st.SearchStrategy[tuple[int, int, int]]:
    """(offset, value, size): mostly at the register's width, else at another."""
    present = [entry for entry in registers if architecture in entry.architectures and entry.access != "RO"]
    return st.sampled_from(present).flatmap(
        lambda entry: st.tuples(
            st.just(entry.offset),
            words(entry.layout).map(lambda chosen: chosen[0]),
            st.sampled_from([entry.bits // 8] * 3 + [4, 2]),
        )
    )


def actions(bench: Bench) -> st.SearchStrategy[list[tuple[str, tuple[object, ...]]]]:
    """What software, devices and PEs do, in the words of `test_safety.act`."""
    config = bench.config
    its, rds = st.integers(0, config.its - 1), st.integers(0, config.redistributors - 1)
    numbers = st.one_of(st.sampled_from([0, 1, 2, 8, 9, 10]), st.sampled_from(NUMBERS))
    kinds = {
        "commands": st.tuples(its, st.lists(command(config.architecture), min_size=1, max_size=12)),
        "poke": poke(bench),
        "its": st.tuples(its, register_write(ITS_REGISTERS, config.architecture)),
        "rd": st.tuples(rds, register_write(REDISTRIBUTOR_REGISTERS, config.architecture)),
        "translate": st.tuples(its, st.sampled_from([1, 1, 1, *NUMBERS]), numbers),
        "restart its": st.tuples(its, rarely(st.just(0), st.just(1))),
        "restart lpis": st.tuples(rds, rarely(st.just(0), st.just(1))),
        "cpu": st.tuples(rds, numbers),
        "resident": st.tuples(rds, numbers, st.booleans()),
    }
    often = [*kinds, "commands", "commands", "poke", "translate", "resident"]
    return st.lists(st.sampled_from(often).flatmap(lambda k: st.tuples(st.just(k), kinds[k])), min_size=5, max_size=40)
