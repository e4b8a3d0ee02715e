# SPDX-License-Identifier: Apache-2.0
"""The cover letter as a booted Linux ran it: replayed without a processor, and its commands beside this package's."""

import lzma
from pathlib import Path

import pytest

from gicmodel.config import GicConfig
from gicmodel.driver import GicDriver, PageAllocator
from gicmodel.driver.objects import ItsDevice
from gicmodel.hardware import Gic
from gicmodel.images.qemu_trace import read_trace
from gicmodel.images.sources import read_dump, read_registers
from gicmodel.kvm import KvmBehaviour
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.layouts.registers.by_name import register
from gicmodel.memory import GuestMemory
from gicmodel.replay import Outcome, replay, survey
from gicmodel.replay.replayer import Replayer
from tests.kvm.guest import ITTS, Guest
from tests.kvm.test_linux_commands import Command, anywhere, in_queue

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.1-cover-letter-gicv4.1"
TRACE = CAPTURE / "cover.trace.xz"
DEVICE, GUEST_DEVICE, VECTORS = 8, 0x42, 16
RAISED = (1, 4, 5, 7, 10, 15)
COPIED = ("GITS_CBASER", "GITS_CREADR", "GITS_CWRITER", "GITS_BASER0", "GITS_BASER1")


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return replay(TRACE, read_dump(CAPTURE / "end.elf.xz"), read_registers(CAPTURE / "end.toml"))


def test_tables_registers_and_what_is_pending_are_as_with_a_processor(outcome: Outcome) -> None:
    assert (outcome.not_pending, outcome.partial, outcome.unknown) == ((), (), {})
    assert {name: compared.different for name, compared in outcome.compared.items() if compared.different} == {}
    assert {name for name, compared in outcome.compared.items() if compared.bytes} >= {"itts", "vpts", "registers"}
    assert outcome.verdict == "equal"


def test_a_message_that_is_lost_is_missed_where_it_was_taken(tmp_path: Path) -> None:
    """The last one is vector 2, for vCPU 0 of the second VM."""
    lines = lzma.decompress(TRACE.read_bytes()).decode().splitlines(keepends=True)
    del lines[max(n for n, line in enumerate(lines) if line.startswith("gicv3_its_translation_write"))]
    (tmp_path / "lost.trace").write_text("".join(lines))
    (missed,) = replay(tmp_path / "lost.trace").not_pending
    assert missed.intid == FIRST_LPI + 5 * 2


def test_the_recording_is_what_its_readme_says(outcome: Outcome) -> None:
    kinds = ", ".join(f"{count} {mnemonic}" for mnemonic, count in outcome.commands_by_kind.items())
    said = f"{outcome.events} events, {outcome.msis} messages and {outcome.commands} commands: {kinds}"
    assert said in (CAPTURE / "README.md").read_text()


def recorded() -> list[Command]:
    replayer = Replayer(TRACE, survey(TRACE), None)
    for event in read_trace(TRACE):
        replayer.feed(event)
    return in_queue(replayer.gic)


def sent() -> list[Command]:
    """What README.md in the folder of the recording says, one call after the other."""
    memory = GuestMemory(0x8000_0000, 0x1000_0000)
    gic = Gic(GicConfig(redistributors=2), memory)
    driver = GicDriver(gic, PageAllocator(memory, memory.base, memory.end))
    driver.probe()
    device = driver.lpis.create_device(DEVICE, VECTORS)
    for event in range(VECTORS):
        driver.lpis.activate(device, event, event % 2)
    hosts = [(device, event) for event in range(VECTORS)]

    source = guest_of(driver)
    for vcpu in range(2):
        source.command("MAPC", ICID=vcpu, RDbase=vcpu, V=1)
    source.command("MAPD", DeviceID=GUEST_DEVICE, Size=4, ITT_addr=ITTS, V=1)
    for event in range(VECTORS):
        source.command("MAPTI", DeviceID=GUEST_DEVICE, EventID=event, pINTID=FIRST_LPI + 5 * event, ICID=event % 2)
    forward(source, hosts)
    run(source)
    for event in RAISED:
        gic.its[0].translate(DEVICE, event)
    save(source)

    for host in hosts:
        source.vgic.unset_forwarding(host)
    destination = guest_of(driver)
    destination.memory.octets[:] = source.memory.octets
    destination.its.user_write(register("GITS_CTLR", "3").offset, 0)
    for name in COPIED:
        offset = register(name, "3").offset
        destination.its.user_write(offset, source.its.user_read(offset))
    destination.its.restore_tables()
    destination.its.user_write(register("GITS_CTLR", "3").offset, 1)
    forward(destination, hosts)
    save(destination)
    run(destination)
    assert gic.errors == []
    return in_queue(gic)


def guest_of(driver: GicDriver) -> Guest:
    """A VM of two vCPUs, whose KVM is as old as that which was recorded."""
    return Guest(2, driver, behaviour=KvmBehaviour.release("6.1.192"))


def forward(guest: Guest, hosts: list[tuple[ItsDevice, int]]) -> None:
    """The irqfds of all vectors, one by one."""
    for host in hosts:
        assert guest.vgic.set_forwarding(0, GUEST_DEVICE, host[1], host)


def run(guest: Guest) -> None:
    """Each vCPU runs, on the CPU that the program was on."""
    for vcpu in range(2):
        guest.vgic.load(vcpu, 1)
        guest.vgic.put(vcpu)


def save(guest: Guest) -> None:
    """Both of KVM's saves."""
    guest.vgic.save_pending_tables()
    guest.its.save_tables()


def test_every_command_is_the_one_that_linux_sent() -> None:
    assert anywhere(sent()) == anywhere(recorded())
