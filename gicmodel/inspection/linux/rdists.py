# SPDX-License-Identifier: Apache-2.0
"""`struct rdists` without debug information: by the kernel's own table of symbols, and its BTF.

VMCOREINFO names the parts of kallsyms since Linux 6.0 (kernel/kallsyms.c, scripts/kallsyms.c): the symbols by address,
each name a length and so many bytes, which stand for tokens. Since Linux 6.1 a length of 128 and more has two bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gicmodel.inspection.linux.debugged import Rdists
from gicmodel.inspection.linux.kernel import Kernel
from gicmodel.inspection.linux.pages import Pages, Unreadable

_SYMBOLS = ("gic_rdists", "lpi_id_bits", "__per_cpu_offset", "__cpu_possible_mask", "nr_cpu_ids")
_MOST_SYMBOLS, _MOST_CPUS = 1 << 20, 1 << 12
_TOKENS, _LONGEST_TOKEN = 256, 64
_LONG = 1 << 7
_ADDRESS = (1 << 64) - 1


def read_rdists(kernel: Kernel) -> Rdists:
    """The redistributors' tables. Raises Unreadable for what the dump lacks, or that makes no sense."""
    memory, symbols = kernel.memory, read_symbols(kernel.memory, _SYMBOLS)
    rdists = kernel.structure("rdists", "rdist", "prop_table_pa")
    # `struct rdists` declares it without a name.
    rdist = kernel.structure("", "rd_base", "pend_page", "phys_base")
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
    count = min(memory.number(symbols["nr_cpu_ids"], 4), _MOST_CPUS)
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
