# SPDX-License-Identifier: Apache-2.0
"""The ITS commands that a real Linux with KVM sent, and those that this package sends for the same job."""

from collections import Counter
from pathlib import Path

import numpy as np

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.hardware import Gic
from gicmodel.kvm import Vgic
from gicmodel.layouts.commands import MAPD, OPCODES, VMAPP
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.its import GITS_CBASER
from gicmodel.memory import GuestMemory

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.1-kvm-el2-gicv4.1"
RAM_BASE, RAM_BYTES = 0x4000_0000, 0x1000_0000
ISENABLER0, ISPENDR0 = (register(f"GICR_{name}").offset for name in ("ISENABLER0", "ISPENDR0"))
MNEMONICS = {opcode: mnemonic for mnemonic, opcode in OPCODES.items()}

ADDRESSES = {"VMAPP": (VMAPP, ("VCONF_addr", "VPT_addr")), "MAPD": (MAPD, ("ITT_addr",))}

Command = tuple[int, ...]


def captured() -> list[Command]:
    lines = [line.split() for line in (CAPTURE / "commands.txt").read_text().splitlines()]
    commands = [tuple(int(word, 16) for word in words) for _, *words in lines]
    assert [mnemonic for mnemonic, *_ in lines] == [MNEMONICS[words[0] & 0xFF] for words in commands]
    return commands


def sent() -> list[Command]:
    """What README.md in the folder of the capture says, with one CPU as there."""
    memory = GuestMemory(RAM_BASE, RAM_BYTES)
    gic = Gic(GicConfig(redistributors=1), memory)
    driver = GicDriver(gic, PageAllocator(memory, memory.base, memory.end))
    driver.probe()
    vgic = Vgic(GuestMemory(RAM_BASE, 0x100_0000), 2, driver)
    vgic.distributor.user_write(register("GICD_CTLR").offset, 0x112)
    vgic.redistributors[0].user_write(ISENABLER0, 0xFFFF)
    vgic.redistributors[0].user_write(ISPENDR0, 8)
    for vcpu in range(2):
        for _ in range(3):
            vgic.load(vcpu, 0)
            vgic.put(vcpu)
    assert vgic.redistributors[0].user_read(ISPENDR0) == 8
    vgic.redistributors[0].user_write(ISPENDR0, 0x20)
    assert vgic.redistributors[0].user_read(ISPENDR0) == 0x20
    vgic.save_pending_tables()
    assert gic.errors == []
    return in_queue(gic)


def in_queue(gic: Gic) -> list[Command]:
    """All commands since power-on, of an ITS whose queue has not been filled."""
    queue = GITS_CBASER.unpack(gic.its[0].read(register("GITS_CBASER").offset))["Physical_Address"]
    end = gic.its[0].read(register("GITS_CWRITER").offset)
    return [tuple(words) for words in gic.memory.view(queue, end // 8, np.uint64).reshape(-1, 4).tolist()]


def anywhere(commands: list[Command]) -> list[Command]:
    """The same with each address of a VMAPP or MAPD replaced by the number of addresses before it."""
    seen = {0: 0}
    found = []
    for words in commands:
        layout, names = ADDRESSES.get(MNEMONICS[words[0] & 0xFF], (None, ()))
        if layout is not None:
            fields = layout.unpack(words)
            for name in names:
                fields[name] = seen.setdefault(fields[name], len(seen)) << 16
            words = layout.pack_words(**fields)
        found.append(tuple(words))
    return found


def test_the_capture_is_what_its_readme_says() -> None:
    mnemonics = Counter(MNEMONICS[words[0] & 0xFF] for words in captured())
    table = ", ".join(f"{count} {mnemonic}" for mnemonic, count in mnemonics.items())
    assert f"all {mnemonics.total()} commands since power-on: {table} |" in (CAPTURE / "README.md").read_text()


def test_every_command_is_the_one_that_linux_sent() -> None:
    assert anywhere(sent()) == anywhere(captured())
