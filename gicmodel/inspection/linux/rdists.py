# SPDX-License-Identifier: Apache-2.0
"""`struct rdists` without debug information: by the kernel's own table of symbols, and its BTF.

VMCOREINFO names the parts of kallsyms since Linux 6.0 (kernel/kallsyms.c, scripts/kallsyms.c): the symbols by address,
each name a length and so many bytes, which stand for tokens. Since Linux 6.1 a length of 128 and more has two bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from gicmodel.inspection.linux.pages import Pages, Unreadable
from gicmodel.inspection.linux.scan import MOST_CPUS
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import ADDRESS_BITS

_SYMBOLS = ("gic_rdists", "lpi_id_bits", "__per_cpu_offset", "__cpu_possible_mask", "nr_cpu_ids")
_MOST_SYMBOLS = 1 << 20
_TOKENS, _LONGEST_TOKEN = 256, 64
_LONG = 1 << 7
_ADDRESS = (1 << 64) - 1
_ALIGNMENT = 1 << 12
LPI_ID_BITS = 16
"""ITS_MAX_LPI_NRBITS: Linux has no LPI that is wider."""


@dataclass
class Rdists:
    """struct rdists: the LPI configuration table, the bits of an LPI's INTID, and by CPU the pending table and the
    redistributor."""

    property_table: int
    id_bits: int
    pending_tables: dict[int, int] = field(default_factory=dict)
    redistributors: dict[int, int] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """Why it cannot be as Linux has it; empty if nothing is wrong."""
        places = (self.property_table, *self.pending_tables.values(), *self.redistributors.values())
        if not FIRST_LPI < 1 << min(self.id_bits, 64) <= 1 << LPI_ID_BITS or any(at % _ALIGNMENT for at in places):
            return f"struct rdists has {self.id_bits} bits of an LPI, tables at {places[0]:#x}"
        if any(place >> ADDRESS_BITS for place in places):
            return f"struct rdists has a table beyond {ADDRESS_BITS} bits of address"
        return ""


def read_rdists(memory: Pages) -> Rdists:
    """The redistributors' tables. Raises Unreadable for what the dump lacks, or that makes no sense."""
    symbols = read_symbols(memory, _SYMBOLS)
    rdists = memory.structure("rdists", "rdist", "prop_table_pa")
    # `struct rdists` declares it without a name.
    rdist = memory.structure("", "rd_base", "pend_page", "phys_base")
    at = memory.number(symbols["gic_rdists"])
    found = Rdists(memory.number(at + rdists.offsets["prop_table_pa"]), memory.number(symbols["lpi_id_bits"], 4))
    first = memory.number(at + rdists.offsets["rdist"])
    for cpu in _possible(memory, symbols):
        one = first + memory.number(symbols["__per_cpu_offset"] + 8 * cpu) & _ADDRESS
        if page := memory.number(one + rdist.offsets["pend_page"]):
            found.pending_tables[cpu] = memory.page_address(page)
            found.redistributors[cpu] = memory.number(one + rdist.offsets["phys_base"])
    if problem := found.problem:
        raise Unreadable(problem)
    return found


def _possible(memory: Pages, symbols: dict[str, int]) -> Iterator[int]:
    """The CPUs that there can be."""
    count = min(memory.number(symbols["nr_cpu_ids"], 4), MOST_CPUS)
    mask = int.from_bytes(memory.read(symbols["__cpu_possible_mask"], -(-count // 64) * 8), "little")
    yield from (cpu for cpu in range(count) if mask >> cpu & 1)


def read_symbols(memory: Pages, wanted: Collection[str]) -> dict[str, int]:
    """The addresses of symbols by name. Raises Unreadable unless the kernel has each, and only once."""
    names, offsets, base = (memory.wanted(f"SYMBOL(kallsyms_{name})") for name in ("names", "offsets", "relative_base"))
    first, found = memory.number(base), dict[str, int]()
    for number, name in enumerate(_names(memory, names)):
        if name in wanted:
            if name in found:
                raise Unreadable(f"kallsyms has two symbols {name}")
            found[name] = first + memory.number(offsets + 4 * number, 4) & _ADDRESS
    if missing := [name for name in wanted if name not in found]:
        raise Unreadable(f"kallsyms at {names:#x} has no symbol {missing[0]}")
    return found


def _names(memory: Pages, at: int) -> Iterator[str]:
    """The names of all symbols, in the order of their addresses."""
    table, count = (memory.wanted(f"SYMBOL(kallsyms_{name})") for name in ("token_table", "num_syms"))
    # The tokens lie behind the names.
    octets, tokens, place = memory.read(at, table - at), _tokens(memory, table), 0
    for _ in range(min(memory.number(count, 4), _MOST_SYMBOLS)):
        length = octets[place] if place < len(octets) - 1 else 0
        if not length:
            raise Unreadable(f"kallsyms at {at:#x} ends before its symbols do")
        place += 1
        if length >= _LONG:
            length, place = length - _LONG | octets[place] << 7, place + 1
        # The first letter is the symbol's kind, as nm has it.
        yield "".join([tokens[octet] for octet in octets[place : place + length]])[1:]
        place += length


def _tokens(memory: Pages, table: int) -> list[str]:
    """What each byte of a name stands for."""
    index = memory.array(memory.wanted("SYMBOL(kallsyms_token_index)"), _TOKENS, "<u2").tolist()
    text = memory.read(table, max(index) + _LONGEST_TOKEN) + b"\0"
    return [text[first : text.index(b"\0", first)].decode("ascii", "replace") for first in index]
