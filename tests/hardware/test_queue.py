# SPDX-License-Identifier: Apache-2.0
"""The command queue: wrap, empty, full, stall and retry, write pointers outside it, and a ring that is not RAM."""

import pytest

from gicmodel.config import GicConfig
from gicmodel.hardware import Gic, error_name
from gicmodel.hardware.kernels.state import LOG_ENTRIES
from gicmodel.layouts.commands import COMMAND_BYTES, COMMANDS, encode
from gicmodel.layouts.registers.its import GITS_CBASER, GITS_CREADR, GITS_CWRITER
from gicmodel.memory import GuestMemory
from tests.hardware.bench import OUTSIDE, QUEUE_SLOTS, RAM, UNIT, Bench

LAST = (QUEUE_SLOTS - 1) * COMMAND_BYTES
BAD = {"ICID": 0, "RDbase": 99, "V": 1}
"""A MAPC that names no redistributor."""


def test_an_empty_queue_executes_nothing(bench):
    bench.ring()
    with bench.unchanged():
        bench.ring()
    assert bench.gic.errors == []


def test_a_full_queue_leaves_one_slot_and_wraps():
    bench = Bench()
    for _ in range(3):
        bench.run("SYNC")
    for icid in range(QUEUE_SLOTS - 1):
        bench.queue_command("MAPC", ICID=icid, RDbase=1, V=1)
    assert bench.creadr() == (3 * COMMAND_BYTES, 0)
    bench.ring()
    assert bench.creadr() == (2 * COMMAND_BYTES, 0)
    assert all(bench.cte(icid) == {"Valid": 1, "RDbase": 1} for icid in range(QUEUE_SLOTS - 1))
    assert bench.cte(QUEUE_SLOTS - 1)["Valid"] == 0


@pytest.mark.parametrize("pages", [1, 2, 16])
def test_the_ring_ends_with_its_pages(pages):
    bench = Bench()
    bench.enable_its(False)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=bench.queue(), Size=pages - 1))
    bench.enable_its(True)
    sync = b"".join(word.to_bytes(8, "little") for word in encode("SYNC"))
    bench.memory.write(bench.queue(), sync * (pages * QUEUE_SLOTS))
    last = pages * QUEUE_SLOTS * COMMAND_BYTES - COMMAND_BYTES
    bench.write_its("CWRITER", last)
    assert bench.creadr() == (last, 0)
    bench.write_its("CWRITER", 0)
    assert bench.creadr() == (0, 0)
    assert bench.gic.errors == []


def test_a_write_pointer_outside_the_ring_stops_it_until_a_valid_one_comes(bench):
    where = bench.creadr()
    bench.queue_command("MAPC", ICID=7, V=1)
    bench.write_its("CWRITER", QUEUE_SLOTS * COMMAND_BYTES)
    assert bench.creadr() == where
    assert bench.cte(7)["Valid"] == 0
    bench.ring()
    assert bench.cte(7)["Valid"] == 1


@pytest.mark.parametrize("field", ["Valid", "Enabled"])
def test_nothing_runs_without_a_valid_queue_or_an_enabled_its(field):
    bench = Bench()
    bench.enable_its(False)
    if field == "Valid":
        bench.write_its("CBASER", GITS_CBASER.pack(Physical_Address=bench.queue()))
        bench.enable_its(True)
    bench.queue_command("MAPC", ICID=7, V=1)
    bench.ring()
    assert bench.creadr() == (0, 0)
    assert bench.cte(7)["Valid"] == 0


def test_the_ring_is_aligned_to_64_kib():
    """Bits [15:12] of the address are treated as zero (DDI0601 GITS_CBASER)."""
    bench = Bench()
    bench.enable_its(False)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=bench.queue() + 0x3000))
    bench.enable_its(True)
    bench.run("MAPC", ICID=7, V=1)
    assert bench.cte(7)["Valid"] == 1


def test_cbaser_clears_creadr_and_stalled_but_not_cwriter():
    bench = Bench()
    bench.run("SYNC")
    bench.queue_command("MAPC", **BAD)
    bench.ring()
    assert bench.creadr() == (COMMAND_BYTES, 1)
    bench.enable_its(False)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=bench.queue(1)))
    assert bench.creadr() == (0, 0)
    assert bench.read_its("CWRITER") == 2 * COMMAND_BYTES


# Stalling.


def test_a_command_error_stalls_the_queue_at_the_command(bench):
    offset = bench.queue_command("MAPC", **BAD)
    bench.queue_command("MAPC", ICID=7, V=1)
    bench.ring()
    assert bench.creadr() == (offset, 1)
    assert bench.cte(7)["Valid"] == 0
    (error,) = bench.gic.errors
    assert (error.its, error.offset, error.number, error.words) == (0, offset, 0x010902, encode("MAPC", **BAD))
    assert str(error) == f"0x010902 MAPC_PROCNUM_OOR at {offset:#x} of ITS 0"


def test_retry_executes_the_command_that_stalled_anew(bench):
    offset = bench.queue_command("MAPC", **BAD)
    bench.queue_command("MAPC", ICID=7, V=1)
    bench.ring()
    bench.ring(retry=1)
    assert (bench.creadr(), len(bench.gic.errors)) == ((offset, 1), 2)
    bench.memory.write_u64(bench.queue() + offset + 16, encode("MAPC", ICID=6, RDbase=3, V=1)[2])
    bench.ring(retry=1)
    assert bench.creadr() == (offset + 2 * COMMAND_BYTES, 0)
    assert (bench.cte(6)["RDbase"], bench.cte(7)["Valid"]) == (3, 1)


def test_a_write_pointer_without_retry_does_not_resume(bench):
    offset = bench.queue_command("MAPC", **BAD)
    bench.ring()
    bench.queue_command("MAPC", ICID=7, V=1)
    bench.ring()
    assert bench.creadr() == (offset, 1)
    assert GITS_CWRITER.unpack(bench.read_its("CWRITER")) == {"Offset": offset + 2 * COMMAND_BYTES, "Retry": 0}
    assert len(bench.gic.errors) == 1


def test_retry_without_a_stall_only_moves_the_write_pointer(bench):
    bench.queue_command("MAPC", ICID=7, V=1)
    bench.ring(retry=1)
    assert bench.cte(7)["Valid"] == 1
    assert bench.read_its("CWRITER") == bench.creadr()[0]


def test_an_ignored_error_lets_the_queue_go_on():
    bench = Bench(command_errors="ignore")
    bench.queue_command("MAPC", **BAD)
    offset = bench.queue_command("MAPC", ICID=7, V=1)
    bench.ring()
    assert bench.creadr() == (offset + COMMAND_BYTES, 0)
    assert [error.number for error in bench.gic.errors] == [0x010902]
    assert bench.cte(7)["Valid"] == 1


@pytest.mark.parametrize("policy", ["ignore", "stall"])
def test_an_external_abort_always_stalls(policy):
    bench = Bench(command_errors=policy)
    bench.run("MAPD", DeviceID=1, ITT_addr=OUTSIDE, V=1)
    offset = bench.queue_command("MAPTI", DeviceID=1, pINTID=8192)
    bench.ring()
    assert bench.creadr() == (offset, 1)
    assert [str(error) for error in bench.gic.errors] == [f"0x010afe MAPTI_EXTERNAL_ABORT at {offset:#x} of ITS 0"]


def test_a_stall_survives_a_disable(bench):
    offset = bench.queue_command("MAPC", **BAD)
    bench.ring()
    bench.enable_its(False)
    bench.enable_its(True)
    assert bench.creadr() == (offset, 1)
    assert len(bench.gic.errors) == 1


# A ring that is not RAM.


@pytest.mark.parametrize("base", [OUTSIDE, 0, RAM + 0x50_0000])
def test_a_ring_outside_ram_stalls_at_once(base):
    bench = Bench()
    bench.enable_its(False)
    bench.write_its("CBASER", GITS_CBASER.pack(Valid=1, Physical_Address=base))
    bench.enable_its(True)
    bench.write_its("CWRITER", 3 * COMMAND_BYTES)
    assert bench.creadr() == (0, 1)
    assert [(error.number, error.words) for error in bench.gic.errors] == [(0x0100FE, (0, 0, 0, 0))]


def test_a_ring_that_ends_beyond_ram_stalls_at_the_end_of_ram():
    memory = GuestMemory(RAM, 2 * UNIT)
    its = Gic(GicConfig(), memory).its[0]
    its.write(0x80, GITS_CBASER.pack(Valid=1, Physical_Address=RAM + UNIT, Size=31))
    sync = b"".join(word.to_bytes(8, "little") for word in encode("SYNC"))
    memory.write(RAM + UNIT, sync * (UNIT // COMMAND_BYTES))
    its.write(0, 1, 4)
    its.write(0x88, UNIT + COMMAND_BYTES)
    assert GITS_CREADR.unpack(its.read(0x90)) == {"Offset": UNIT, "Stalled": 1}


# Opcodes and the log.


@pytest.mark.parametrize("architecture", ["3", "4.0", "4.1"])
def test_every_opcode_that_the_architecture_does_not_have_is_an_error(architecture):
    bench = Bench(architecture=architecture, command_errors="ignore")
    for opcode in sorted(set(range(256)) - set(COMMANDS(architecture))):
        bench.queue_words((opcode, 0, 0, 0))
        bench.ring()
        (error,) = bench.gic.errors
        assert error.number == 0x01_00FD | opcode << 8
        bench.gic.clear_errors()


def test_the_log_keeps_the_latest_errors():
    bench = Bench(command_errors="ignore")
    for number in range(LOG_ENTRIES + 5):
        bench.queue_command("MAPC", ICID=number, RDbase=99, V=1)
        bench.ring()
    assert len(bench.gic.errors) == LOG_ENTRIES
    assert [error.words[2] & 0xFFFF for error in bench.gic.errors][:: LOG_ENTRIES - 1] == [5, LOG_ENTRIES + 4]
    bench.gic.clear_errors()
    assert bench.gic.errors == []


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0x010802, "MAPD_ITTSIZE_OOR"),
        (0x010902, "MAPC_PROCNUM_OOR"),
        (0x010E01, "MOVALL_PROCNUM_OOR"),
        (0x010101, "MOVI_DEVICE_OOR"),
        (0x010507, "CLEAR_UNMAPPED_INTERRUPT"),
        (0x010502, "SYNC_PROCNUM_OOR"),
        (0x012514, "VSYNC_VCPU_INVALID"),
        (0x012911, "VMAPP_VCPU_OOR"),
        (0x01FFFD, "OPCODE_0xff_UNKNOWN_COMMAND"),
        (0x010877, "MAPD_0x77"),
    ],
)
def test_names_of_error_numbers(number, name):
    assert error_name(number) == name


def test_the_last_slot_of_the_ring_is_a_slot(bench):
    while bench.creadr()[0] != LAST:
        bench.run("SYNC")
    bench.run("MAPC", ICID=7, V=1)
    assert (bench.creadr(), bench.cte(7)["Valid"]) == ((0, 0), 1)
