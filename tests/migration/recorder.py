# SPDX-License-Identifier: Apache-2.0
"""Writes down what each ITS command, and the software between them, changes in the RAM of hosts and guests."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from gicmodel.driver.queue import QUEUE_BYTES
from gicmodel.hardware import Gic
from gicmodel.kvm.its import PAGE_ENTRIES, TABLE_PAGE_BYTES
from gicmodel.layouts.commands import COMMAND_BYTES, format_command
from gicmodel.layouts.its_tables import CTE, DTE, ITE, VPE_CONFIGURATION
from gicmodel.layouts.kvm_abi import KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from gicmodel.layouts.lpi_tables import FIRST_LPI, LPI_CONFIGURATION, table_bytes
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CREADR, GITS_CWRITER
from gicmodel.layouts.table import TableType
from gicmodel.memory import PAGE_BYTES, GuestMemory
from gicmodel.migration import Host, VirtualMachine

OCTETS = (8,)
QUEUE = "command queue"


class Table(NamedTuple):
    """`size` bytes from `base` on, whose entries are words of `word_bits`."""

    name: str
    base: int
    size: int
    word_bits: tuple[int, ...]

    def words(self) -> list[tuple[int, int]]:
        """(offset in an entry, bytes) of each word of an entry."""
        sizes = [bits // 8 for bits in self.word_bits]
        return [(sum(sizes[:number]), size) for number, size in enumerate(sizes)]


def host_tables(host: Host) -> Iterator[Table]:
    """What the ITS and the redistributors of a host keep in RAM, and its queue."""
    node, driver = host.driver.gic.its[0], host.driver
    yield Table(QUEUE, node.queue.base, QUEUE_BYTES, OCTETS)
    for kind, name, layout in (
        (TableType.DEVICES, "device table", DTE),
        (TableType.COLLECTIONS, "collection table", CTE),
        (TableType.VPES, "vPE table", VPE_CONFIGURATION),
    ):
        yield Table(name, node.tables[kind].address, node.tables[kind].size, layout.word_bits)
    for device in driver.lpis.devices.values():
        yield Table(f"ITT of {device.device_id:#x}", device.itt_addr, (ITE.bytes << device.event_bits), ITE.word_bits)
    lpis = (1 << driver.gic.lpi_id_bits) - FIRST_LPI
    yield Table("LPI configuration", driver.gic.lpi_configuration.address, lpis, LPI_CONFIGURATION.word_bits)
    for vm in dict.fromkeys(vpe.vm for vpe in driver.vpes.by_id.values()):
        yield Table("vLPI configuration", vm.vprop_page, lpis, LPI_CONFIGURATION.word_bits)
    for vpe in driver.vpes.by_id.values():
        yield Table(f"VPT of vPE {vpe.vpe_id}", vpe.vpt_page, table_bytes(driver.gic.lpi_id_bits), OCTETS)


def guest_tables(vm: VirtualMachine) -> Iterator[Table]:
    """What KVM reads from and saves to a guest's RAM, and the guest's queue. The device table has one level 2 page."""
    its, dist = vm.vgic.its[0], vm.vgic.dist
    level1 = its.device_table.address
    yield Table(f"guest {QUEUE}", GITS_CBASER.unpack(its.cbaser)["Physical_Address"], QUEUE_BYTES, OCTETS)
    yield Table("guest level 1 table", level1, its.device_table.entries * KVM_LEVEL1.bytes, KVM_LEVEL1.word_bits)
    level2 = KVM_LEVEL1.unpack(vm.memory.read_u64(level1))["Physical_Address"]
    yield Table("guest device table", level2, PAGE_ENTRIES * KVM_DTE.bytes, KVM_DTE.word_bits)
    yield Table("guest collection table", its.collection_table.address, TABLE_PAGE_BYTES, KVM_CTE.word_bits)
    for device in its.devices.values():
        size = KVM_ITE.bytes << device.num_eventid_bits
        yield Table(f"guest ITT of {device.device_id:#x}", device.itt_addr, size, KVM_ITE.word_bits)
    yield Table("guest LPI configuration", dist.configuration_table, dist.lpi_limit - FIRST_LPI, OCTETS)
    for vcpu, address in enumerate(dist.pending_tables):
        yield Table(f"guest pending table of vCPU {vcpu}", address, table_bytes(16), OCTETS)


class Watched:
    """One RAM, and what was in it when it was last looked at."""

    def __init__(self, prefix: str, memory: GuestMemory, tables: Callable[[], Iterator[Table]]) -> None:
        self._prefix = prefix
        self._memory = memory
        self._tables = tables
        self._before = GuestMemory(memory.base, memory.size)
        self._remember(self._pages())

    def changes(self) -> list[str]:
        """A line for each word that changed since the last call; equal changes of consecutive bytes share one."""
        pages = self._pages()
        offsets = self._changed(pages)
        lines = []
        for table in self._tables():
            start = table.base - self._memory.base
            inside = offsets[(offsets >= start) & (offsets < start + table.size)] - start
            offsets = offsets[(offsets < start) | (offsets >= start + table.size)]
            if not table.name.endswith(QUEUE):
                lines += [f"{self._prefix}{table.name} {line}" for line in self._runs(table, inside.tolist())]
        lines += [f"{self._prefix}RAM of no table: {offset + self._memory.base:#x}" for offset in offsets.tolist()]
        self._remember(pages)
        return lines

    def _remember(self, pages: np.ndarray) -> None:
        self._octets(self._before)[pages] = self._octets(self._memory)[pages]

    def _changed(self, pages: np.ndarray) -> np.ndarray:
        page, octet = np.nonzero(self._octets(self._memory)[pages] != self._octets(self._before)[pages])
        return pages[page] * PAGE_BYTES + octet

    def _pages(self) -> np.ndarray:
        return (self._memory.written_pages() - self._memory.base) // PAGE_BYTES

    def _octets(self, memory: GuestMemory) -> np.ndarray:
        return memory.octets.reshape(-1, PAGE_BYTES)

    def _runs(self, table: Table, offsets: list[int]) -> list[str]:
        words = sorted({self._word(table, offset) for offset in offsets})
        changes = [(offset, size, *self._values(table.base + offset, size)) for offset, size in words]
        breaks = [
            n + 1
            for n, (one, other) in enumerate(pairwise(changes))
            if other[0] != one[0] + 1 or other[1:] != one[1:] or one[1] > 1
        ]
        runs = [changes[start:end] for start, end in pairwise([0, *breaks, len(changes)])] if changes else []
        return [self._line(run) for run in runs]

    def _word(self, table: Table, offset: int) -> tuple[int, int]:
        entry = offset - offset % (sum(table.word_bits) // 8)
        return next((entry + at, size) for at, size in reversed(table.words()) if entry + at <= offset)

    def _values(self, address: int, size: int) -> tuple[str, str]:
        before, after = (memory.read(address, size)[::-1].hex() for memory in (self._before, self._memory))
        return before, after

    def _line(self, run: list[tuple[int, int, str, str]]) -> str:
        (first, _, before, after), last = run[0], run[-1][0]
        place = f"{first:#x}" if first == last else f"{first:#x}-{last:#x}"
        return f"{place}: {before} -> {after}"


class Recorder:
    """The log: each command with the changes that it made, and the changes made in between, by step."""

    def __init__(self) -> None:
        self.steps: dict[str, list[str]] = {}
        self._watched: list[Watched] = []

    def watch(self, *watched: Watched) -> None:
        """Look at these from now on."""
        self._watched += watched

    def progress(self, step: str, done: int, total: int) -> None:
        """What follows belongs to `step`."""
        self.software()
        self.steps.setdefault(step, [])

    def software(self) -> None:
        """Note what changed without a command."""
        changes = self._changes()
        if changes:
            self._append("software", changes)

    def step(self, gic: Gic, step: Callable[[Gic], int]) -> int:
        """`Gic.step`, of one command, noted."""
        self.software()
        command = self._next_command(gic)
        executed = step(gic)
        changes = self._changes()
        if command is not None:
            self._append(command, changes)
        elif changes:
            self._append("no command", changes)
        return executed

    def _append(self, cause: str, changes: list[str]) -> None:
        if self.steps:
            step = next(reversed(self.steps))
            self.steps[step] += [cause, *(f"    {change}" for change in changes)]

    def _changes(self) -> list[str]:
        return [change for watched in self._watched for change in watched.changes()]

    def _next_command(self, gic: Gic) -> str | None:
        names = ("GITS_CBASER", "GITS_CREADR", "GITS_CWRITER")
        cbaser, creadr, cwriter = (gic.its[0].read(register(name).offset) for name in names)
        offset = GITS_CREADR.unpack(creadr)["Offset"]
        if offset == GITS_CWRITER.unpack(cwriter)["Offset"]:
            return None
        address = GITS_CBASER.unpack(cbaser)["Physical_Address"] + offset
        return format_command(gic.memory.view(address, COMMAND_BYTES // 8, np.uint64))
