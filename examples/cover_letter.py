# SPDX-License-Identifier: Apache-2.0
"""The cover letter by Linux itself: VFIO, irqbypass and KVM save and restore vLPIs, on a board with a GICv4.1.

cover_letter.py DIRECTORY [3|4.0|4.1]: DIRECTORY has the unpacked package of an arm64 kernel (`dpkg-deb -x`). On GICv4.1
its ITS commands and the guest's bytes stand beside those of `gicmodel migrate` for the same VM.
"""

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gicmodel.board import Board, Ending, powered_on
from gicmodel.board.initramfs import initramfs
from gicmodel.config import GicConfig
from gicmodel.hardware import Gic, Its
from gicmodel.images.qemu_trace import read_trace
from gicmodel.images.qemu_trace.events import Command, Packet, RedistributorWrite, UnknownCommand
from gicmodel.images.qemu_trace.packets import Words, words_of
from gicmodel.lab.queue import Queue
from gicmodel.layouts.commands import decode_command, encode
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import NamedRegisters, register
from gicmodel.layouts.registers.its import GITS_CWRITER
from gicmodel.memory import GuestMemory
from gicmodel.migration.host import Host
from gicmodel.migration.machine import VirtualMachine
from gicmodel.migration.migrate import Migration
from gicmodel.migration.vfio import DeviceState

PROGRAM = Path(__file__).parents[1] / "tables" / "linux-boot" / "cover"
MODULES = ("vfio_virqfd", "vfio", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci")
APPEND = "earlycon console=ttyAMA0 kvm-arm.vgic_v4_enable=1"
SECONDS = 600

# Linux


class Run(NamedTuple):
    """A board that has run the program to its end; `shown` is how much of the console there was at each line traced."""

    board: Board
    console: str
    trace: list[str]
    shown: list[int]


def archive(package: Path) -> bytes:
    """The program as /init, and the modules that it loads."""
    found = {path.name: path for path in package.glob("lib/modules/*/kernel/drivers/vfio/**/*.ko")}
    modules = {f"/modules/{name}.ko": found[f"{name}.ko"].read_bytes() for name in MODULES if f"{name}.ko" in found}
    return initramfs({"/init": PROGRAM.read_bytes(), **modules})


def boot(package: Path, **choices: object) -> Run:
    """Boot, on a GIC of these choices."""
    console, trace, shown = bytearray(), list[str](), list[int]()

    def tell(line: str) -> None:
        trace.append(line)
        shown.append(len(console))

    board = powered_on(
        next(package.glob("boot/vmlinuz-*")),
        GicConfig(**choices),
        initrd=archive(package),
        append=APPEND,
        el2=True,
        send=console.append,
        trace=tell,
    )
    ending = board.run(SECONDS)
    assert ending is Ending.OFF, (ending, board.reason, console[-500:])
    return Run(board, console.decode(), trace, shown)


# The same by the model

RAM_BASE, RAM_BYTES = 0x4000_0000, 0x10_0000
DEVICE_TABLE, COLLECTION_TABLE, CONFIGURATION, ITT = (
    RAM_BASE + offset for offset in (0x10000, 0x20000, 0x30000, 0x60000)
)
PENDING = tuple(RAM_BASE + 0x40000 + 0x10000 * vcpu for vcpu in range(2))
GUEST_DEVICE, VECTORS = 0x42, range(16)
RAISED = (1, 4, 5, 7, 10, 15, 15)
VALID, ENTRIES_OF_8, PAGES_OF_64K = 1 << 63, 7 << 48, 2 << 8
"""All as tables/linux-boot/cover.c has them."""

STEPS = ("boot", "the PCI function", "VM A", "saved", "VM B")
Streams = list[list[str]]
"""The commands of each step, as text."""


class Recorder:
    """An ITS, and before it a list of the commands that software gives to it, each with the step."""

    def __init__(self, gic: Gic, step: int, host: str = "") -> None:
        self.step, self.streams = step, [[] for _ in STEPS]
        self.redistributors = gic.redistributors
        self.its = [self]
        self._its: Its = gic.its[0]
        self._host, self._queue = host, Queue(gic, 0)

    def read(self, offset: int, size: int) -> int:
        return self._its.read(offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        if offset == register("GITS_CWRITER").offset:
            start, end = self._queue.registers("CWRITER")["Offset"], GITS_CWRITER.unpack(value)["Offset"]
            told = (text_of(self._queue.words(at)) for at in self._queue.offsets(start, end))
            self.streams[self.step] += [self._host + text for text in told]
        self._its.write(offset, value, size)


class ByModel(NamedTuple):
    """What `gicmodel migrate` does for the same VM: commands, the source's RAM when saved, and what guests took."""

    streams: Streams
    memory: GuestMemory
    taken: list[tuple[int, int]]


def migrated() -> ByModel:
    """The steps of the program, by `gicmodel.migration`: VM B is on a host of its own."""
    recorders: list[Recorder] = []

    def recorded(name: str, *where: object) -> Host:
        port = lambda gic: recorders.append(Recorder(gic, *where)) or recorders[-1]  # noqa: E731
        return Host(name, GicConfig(redistributors=1), port=port)

    source, destination = recorded("A", 0), recorded("B", 4, ON_B)
    a, b = recorders
    a.step = 2
    vm = VirtualMachine(source, GuestMemory(RAM_BASE, RAM_BYTES), 2)
    boot_guest(vm)
    a.step = 1
    vm.attach([(GUEST_DEVICE, VECTORS)])
    a.step = 2
    vm.devices[0].forward(vm.vgic)
    vm.set_devices(DeviceState.RUNNING)
    assert list(vm.deliver()) == []
    a.step = 3
    vm.devices[0].fire(RAISED)
    migration = Migration(vm, destination)
    migration.run()
    a.step = 4
    vm.devices[0].unforward(vm.vgic)
    migration.target.flush_pending_tables()
    streams = [on_a + on_b for on_a, on_b in zip(a.streams, b.streams, strict=True)]
    return ByModel(streams, vm.memory, list(migration.target.deliver()))


def boot_guest(vm: VirtualMachine) -> None:
    """What the program does in its guest's name."""
    memory, its = vm.memory, NamedRegisters(vm.vgic.its[0], "3")
    vm.vgic.distributor.write(register("GICD_CTLR").offset, 1 << 4 | 1 << 1, 4)  # ARE, EnableGrp1
    for redistributor, pending in zip(vm.vgic.redistributors, PENDING, strict=True):
        registers = NamedRegisters(redistributor, "3")
        registers.write("GICR_PROPBASER", CONFIGURATION | 15)
        registers.write("GICR_PENDBASER", pending)
        registers.write("GICR_CTLR", 1)
    memory.write(CONFIGURATION, b"\xa1" * 0x10000)
    commands = [encode("MAPC", "3", V=1, RDbase=n, ICID=n) for n in range(2)]
    commands.append(encode("MAPD", "3", DeviceID=GUEST_DEVICE, Size=4, ITT_addr=ITT, V=1))
    targets = ({"EventID": n, "pINTID": FIRST_LPI + 5 * n, "ICID": n % 2} for n in VECTORS)
    commands += [encode("MAPTI", "3", DeviceID=GUEST_DEVICE, **target) for target in targets]
    memory.write(RAM_BASE, np.array(commands, "<u8").tobytes())
    its.write("GITS_CBASER", VALID | RAM_BASE | 15)
    its.write("GITS_BASER0", VALID | ENTRIES_OF_8 | DEVICE_TABLE | PAGES_OF_64K)
    its.write("GITS_BASER1", VALID | ENTRIES_OF_8 | COLLECTION_TABLE | PAGES_OF_64K)
    its.write("GITS_CTLR", 1)
    its.write("GITS_CWRITER", 32 * len(commands))


def saved_lines(memory: GuestMemory) -> list[str]:
    """The guest's RAM as the program shows it."""
    tables = [("pending table", PENDING[0], 0x2000), ("pending table", PENDING[1], 0x2000)]
    tables += [
        ("device table", DEVICE_TABLE, 0x1000),
        ("collection table", COLLECTION_TABLE, 0x1000),
        ("ITT", ITT, 0x100),
    ]
    return [
        f"{name} {at:#x} {octets.hex(' ')}"
        for name, start, size in tables
        for at in range(start, start + size, 8)
        if any(octets := memory.read(at, 8))
    ]


# One beside the other

ON_B = "on host B: "
INVLPIR = "GICR_INVLPIR"
_COMPARED = ("EventID", "ICID", "vPEID", "vINTID", "V", "Alloc", "PTZ", "VPT_size")
"""Operands that do not depend on who has allocated what."""


def text_of(words: Words | None) -> str:
    """A command with what of it is compared."""
    assert words is not None
    mnemonic, fields = decode_command(words)
    return " ".join([mnemonic, *(f"{name}={fields[name]:#x}" for name in _COMPARED if name in fields)])


def by_linux(run: Run) -> Streams:
    """The commands of each step, and the invalidations by register among them."""
    headings = [found.start() for found in re.finditer(r"^\d\. ", run.console, re.MULTILINE)]
    streams: Streams = [[] for _ in STEPS]
    for line, text in _told(run.trace):
        streams[sum(heading < run.shown[line - 1] for heading in headings)].append(text)
    return streams


def _told(trace: list[str]) -> Iterator[tuple[int, str]]:
    packet, events = None, dict[int, int]()
    invlpir = register(INVLPIR).offset
    for event in read_trace(Path("the board's trace"), io.BytesIO("".join(f"{line}\n" for line in trace).encode())):
        if isinstance(event, Packet):
            packet = event
        elif isinstance(event, Command | UnknownCommand):
            words, packet = words_of(event, packet, "4.1"), None
            mnemonic, fields = decode_command(words)
            if mnemonic == "MAPTI":
                events[fields["pINTID"]] = fields["EventID"]
            yield event.line, text_of(words)
        elif isinstance(event, RedistributorWrite) and event.offset == invlpir:
            yield event.line, f"{INVLPIR} EventID={events[event.data]:#x}"


class Difference(NamedTuple):
    """One that is meant: why, and what makes up for it in a step's commands of Linux or of the model."""

    why: str
    linux: Callable[[list[str]], list[str]] = list
    model: Callable[[list[str]], list[str]] = list


_OF_EVENTS = ("DISCARD", "MAPTI", "VMAPTI", "INT", INVLPIR)


def _kind(text: str) -> str:
    return text.partition(" ")[0]


def _at_once(texts: list[str]) -> list[str]:
    """Commands for events that follow each other, of each kind together, with one wait of each kind at the end."""
    result: list[str] = []
    commands: dict[str, list[str]] = {}
    waits: dict[str, set[str]] = {}

    def flush() -> None:
        for kind, group in commands.items():
            result.extend([*group, *sorted(waits[kind])])
        commands.clear()
        waits.clear()

    kind = ""
    for text in texts:
        if commands and _kind(text) in ("SYNC", "VSYNC"):
            waits[kind].add(text)
        elif _kind(text) in _OF_EVENTS:
            kind = _kind(text)
            commands.setdefault(kind, []).append(text)
            waits.setdefault(kind, set())
        else:
            flush()
            result.append(text)
    flush()
    return result


def _by_register(texts: list[str]) -> list[str]:
    """INV, and the SYNC behind the last of them, as a write of GICR_INVLPIR."""
    followed = zip(["", *texts], texts, strict=False)
    kept = [
        text for before, text in followed if not (text.endswith("SYNC") and _kind(before.removeprefix(ON_B)) == "INV")
    ]
    return [re.sub(r"\bINV\b", INVLPIR, text) for text in kept]


def _without_a_boot(texts: list[str]) -> list[str]:
    """Host B without what it had to do before the VM came: its boot, and its device."""
    result, left_out = [], False
    for text in texts:
        on_b = text.removeprefix(ON_B)
        once = _kind(on_b) in ("MAPC", "INVALL", "MAPD", "MAPTI", "INV", INVLPIR)
        left_out = text.startswith(ON_B) and (once or (left_out and on_b == "SYNC"))
        if not left_out:
            result.append(on_b)
    return result


def _counted_from_0(texts: list[str]) -> list[str]:
    """The vPEIDs of a step that maps a VM, from 0 on."""
    first = min((int(found[1], 0) for text in texts if (found := re.match(r"VMAPP vPEID=(\w+)", text))), default=0)
    return [re.sub(r"vPEID=(\w+)", lambda found: f"vPEID={int(found[1], 0) - first:#x}", text) for text in texts]


DIFFERENCES = (
    Difference(
        "Linux maps and discards event by event and waits for each; the model's driver does a device at once", _at_once
    ),
    Difference(
        "Linux has GICR_INVLPIR reload an LPI's configuration, as GICv4.1 offers; the model's driver sends INV",
        model=_by_register,
    ),
    Difference(
        "the program has both VMs on one host, whose vPEIDs go on; "
        "the model's VM B is on one that boots and maps the device",
        _counted_from_0,
        _without_a_boot,
    ),
)


def unequal(linux: Streams, model: Streams, meant: Iterable[Difference]) -> Iterator[str]:
    """The first difference of each step that is none of those that are meant."""
    for difference in meant:
        linux = [difference.linux(step) for step in linux]
        model = [difference.model(step) for step in model]
    for name, ours, theirs in zip(STEPS, linux, model, strict=True):
        pairs = enumerate(zip([*ours, *[""] * len(theirs)], [*theirs, *[""] * len(ours)], strict=True))
        at = next((n for n, (one, other) in pairs if one != other), None)
        if at is not None:
            yield f"{name}, command {at}: Linux {ours[at : at + 1]}, gicmodel {theirs[at : at + 1]}"


def show_beside(run: Run) -> None:
    """Both, in words."""
    linux, model = by_linux(run), migrated()
    print("\nbeside `gicmodel migrate` of the same VM, but for what is meant:")
    for difference in DIFFERENCES:
        print(f"- {difference.why}")
    counts = ", ".join(f"{name} {len(step)}" for name, step in zip(STEPS, linux, strict=True))
    wrong = list(unequal(linux, model.streams, DIFFERENCES))
    print("\n".join(wrong) or f"the commands are the same, in the same order: {counts}")
    lines = saved_lines(model.memory)
    same = sum(line in run.console for line in lines)
    print(f"saved: {len(lines)} words of the guest's tables, {same} of them the same")


if __name__ == "__main__":
    run = boot(Path(sys.argv[1]), architecture="".join(sys.argv[2:3]) or "4.1", redistributors=1)
    print(run.console.partition("Run /init as init process\n")[2])
    print("ITS commands:", dict(sorted(run.board.watch.commands.items())), "errors:", run.board.gic.errors)
    if run.board.config.v41:
        show_beside(run)
