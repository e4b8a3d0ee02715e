# SPDX-License-Identifier: Apache-2.0
"""A whole board and programs of a few instructions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import needed

needed("unicorn")
needed("fdt")

import fdt
import numpy as np

from gicmodel.board import Board, Ending, new_gic
from gicmodel.board.cells import BOARD
from gicmodel.board.snapshot import load_board, save_board
from gicmodel.config import GicConfig
from gicmodel.errors import UnusableInput
from gicmodel.hardware.snapshot import save_snapshot
from gicmodel.layouts.registers.register import packed
from tests.board import assembly as asm
from tests.board import programs
from tests.board.programs import ENTRY

MIB = 1 << 20
SECONDS = 60.0


class Booted:
    """A board that begins with a program, and what it shows."""

    def __init__(self, *words: int, el2: bool = False, **choices: object) -> None:
        self.shown = bytearray()
        config = GicConfig(**{"redistributors": 1, "vpt_cache_sets": 1} | choices)
        self.board = Board(new_gic(config, 16 * MIB), el2=el2, send=self.shown.append)
        self.board.memory.write(ENTRY, asm.code(*words, asm.LOOP))
        self.board.power_on(ENTRY, 0)

    def run(self, seconds: float = SECONDS, on_turn: Callable[[float], Ending | None] = lambda wait: None) -> Ending:
        return self.board.run(seconds, on_turn)


def test_a_program_shows_and_powers_off() -> None:
    booted = Booted(*programs.show("hi"), *programs.power_off())
    assert (booted.run(), booted.shown) == (Ending.OFF, b"hi")


def test_a_reset_ends_the_run() -> None:
    assert Booted(*programs.firmware(programs.SYSTEM_RESET)).run() is Ending.RESET


def test_time_runs_out_on_a_hang() -> None:
    assert Booted().run(0.2) is Ending.TIMED_OUT


@pytest.mark.parametrize("choices", [{}, {"commands_per_step": 1}])
def test_waiting_for_ever_is_told(choices: dict[str, object]) -> None:
    assert Booted(asm.WFI, **choices).run() is Ending.STUCK


def test_what_is_typed_keeps_a_waiting_board_alive() -> None:
    booted = Booted(asm.WFI)
    waits: list[float] = []

    def on_turn(wait: float) -> Ending | None:
        waits.append(wait)
        if len(waits) == 2:
            booted.board.uart.receive(b"x")
        return Ending.LEFT if len(waits) == 3 else None

    assert booted.run(SECONDS, on_turn) is Ending.LEFT
    assert waits[1] > SECONDS - 1


def test_an_exception_storm_ends_the_run_with_its_place() -> None:
    booted = Booted(*programs.set_system(asm.VBAR_EL1, 0), asm.SVC)
    assert booted.run() is Ending.BROKEN
    assert "PE 0 takes exceptions at 0x200 without executing an instruction" in booted.board.reason


@pytest.mark.parametrize("choices", [{}, {"architecture": "3"}, {"caching": "retain", "commands_per_step": 1}])
def test_a_timer_interrupt_wakes_acknowledges_and_ends(choices: dict[str, object]) -> None:
    booted = Booted(*programs.timer_interrupt(programs.power_off()), **choices)
    assert booted.run() is Ending.OFF
    assert booted.board.watch.interrupts == {("PPI", 0): 1}
    assert 1000 <= booted.board.now < 20_000


def test_a_second_pe_is_powered_on_and_off() -> None:
    second = ENTRY + 0x1000
    booted = Booted(*programs.firmware(programs.CPU_ON, 1, second, 7), asm.WFI, redistributors=2)
    booted.board.memory.write(second, asm.code(*programs.show("2"), *programs.firmware(0x8400_0002)))
    assert (booted.run(), booted.shown) == (Ending.STUCK, b"2")
    assert [cpu.is_on for cpu in booted.board.cpus] == [True, False]


def test_a_command_that_fails_is_counted_and_named() -> None:
    booted = Booted(*programs.bad_command(), *programs.power_off())
    assert booted.run() is Ending.OFF
    assert booted.board.watch.commands == {"unknown": 1}
    assert "OPCODE_0xee_UNKNOWN_COMMAND at 0x0 of ITS 0" in str(booted.board.gic.errors[0])


def test_a_64_bit_register_takes_a_store_of_its_lower_half_alone() -> None:
    booted = Booted(*programs.store(programs.addresses.ITS_BASE + 0x80, 0x4000_0003), *programs.power_off())
    booted.run()
    assert booted.board.bus.read(programs.addresses.ITS_BASE + 0x80, 8) & 0xFFFF_FFFF == 0x4000_0003


def test_the_same_run_is_the_same_to_the_instruction() -> None:
    def trial() -> tuple[int, int, bytes]:
        booted = Booted(*programs.timer_interrupt([*programs.spin(50_000), *programs.show("x"), *programs.power_off()]))
        booted.run()
        return booted.board.now, booted.board.instructions, bytes(booted.shown)

    assert trial() == trial()


def test_a_board_goes_on_as_it_was(tmp_path: Path) -> None:
    program = [*programs.show("a"), *programs.spin(3_000_000), *programs.show("b"), *programs.power_off()]
    whole = Booted(*program)
    whole.run()
    half = Booted(*program)
    half.run(SECONDS, lambda wait: Ending.EXPECTED if half.shown else None)
    assert half.shown == b"a"
    half.board.uart.receive(b"typed")
    save_board(half.board, tmp_path / "board.npz")
    shown = bytearray()
    resumed = load_board(tmp_path / "board.npz", shown.append)
    assert resumed.run(SECONDS) is Ending.OFF
    assert shown == b"b"
    assert bytes(resumed.uart.received) == b"typed"
    assert (resumed.instructions, resumed.now) == (whole.board.instructions, whole.board.now)


def test_a_board_that_was_powered_off_stays_off(tmp_path: Path) -> None:
    booted = Booted(*programs.power_off(), *programs.show("a"))
    booted.run()
    save_board(booted.board, tmp_path / "board.npz")
    shown = bytearray()
    assert load_board(tmp_path / "board.npz", shown.append).run(SECONDS) is Ending.STUCK
    assert not shown


def test_a_snapshot_of_a_gic_alone_is_no_board(tmp_path: Path) -> None:
    save_snapshot(Booted().board.gic, tmp_path / "gic.npz")
    with pytest.raises(UnusableInput, match="there are no processors in it"):
        load_board(tmp_path / "gic.npz", lambda octet: None)


PC, PSTATE, EXECUTION_STATE, ROUNDING_MODE, REST, END = 0x140, 0x148, 0x14C, 0x2EC9, 0x2F18, 0x3138
"""Where Unicorn 2.1.4 saves them."""


@pytest.mark.parametrize(
    ("array", "at", "value", "says"),
    [
        ("board_context", PC, 2, "a PE is at 0x[0-9a-f]*2, where no instruction can be"),
        ("board_context", PSTATE, 0xC9, "in mode 0b01001 of AArch64, which the board does not have"),
        ("board_context", PSTATE, 0xCD, "in mode 0b01101 of AArch64"),
        ("board_context", EXECUTION_STATE, 7, "execution state is 7"),
        ("board_context", EXECUTION_STATE, 0, "in mode 0b10011 of AArch32"),
        ("board_context", ROUNDING_MODE, 9, "rounding mode is 9"),
        ("board_context", ROUNDING_MODE + 8, 9, "rounding mode is 9"),
        ("board_cells", BOARD.now, 1 << 63, "now of the board is 9223372036854775808"),
        ("board_cells", BOARD.instructions, (1 << 64) - 1, "instructions of the board is 18446744073709551615"),
    ],
)
def test_a_pe_in_an_impossible_state_is_refused(tmp_path: Path, array: str, at: int, value: int, says: str) -> None:
    with pytest.raises(UnusableInput, match=says) as refused:
        load_board(damaged(tmp_path, array, {at: value}), lambda octet: None)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("device", "state"),
    [
        ("function", {}),
        ("function", {"space": 1, "table": "", "pending": 0}),
        ("smmu", {"0x20": None}),
        ("smmu", {"0x20": math.inf}),
        ("uart", {"registers": {"0x38": []}, "raw_interrupts": 0, "received": []}),
    ],
)
def test_devices_in_a_state_that_is_none_are_refused(tmp_path: Path, device: str, state: dict[str, object]) -> None:
    save_board(Booted(*programs.power_off()).board, tmp_path / "good.npz")
    arrays = dict(np.load(tmp_path / "good.npz"))
    header = json.loads(arrays["header"].tobytes())
    header["board"][device] = state
    np.savez(tmp_path / "bad.npz", **arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)})
    with pytest.raises(UnusableInput, match=r"bad\.npz: is no gicmodel snapshot of version 3, or is damaged: "):
        load_board(tmp_path / "bad.npz", lambda octet: None)


def test_pointers_of_another_process_are_not_taken(tmp_path: Path) -> None:
    write_dbgbvr0 = asm.msr(packed(2, 0, 0, 0, 4), 0)
    program = [write_dbgbvr0, *programs.show("b"), *programs.power_off()]
    path = damaged(tmp_path, "board_context", dict.fromkeys(range(REST, END), 0xFF), *program)
    shown = bytearray()
    assert load_board(path, shown.append).run(SECONDS) is Ending.OFF
    assert shown == b"b"


def damaged(directory: Path, array: str, values: dict[int, int], *program: int) -> Path:
    """A board that has shown an a, with other values in an array of its file."""
    half = Booted(*programs.show("a"), *programs.spin(3_000_000), *program)
    half.run(SECONDS, lambda wait: Ending.EXPECTED if half.shown else None)
    save_board(half.board, directory / "good.npz")
    arrays = dict(np.load(directory / "good.npz"))
    for at, value in values.items():
        arrays[array].reshape(-1)[at] = value
    np.savez(directory / "bad.npz", **arrays)
    return directory / "bad.npz"


def test_the_device_tree_has_every_device_and_pe() -> None:
    board = Booted(redistributors=18, el2=True).board
    tree = fdt.parse_dtb(board.device_tree("quiet", (0x4500_0000, 0x4500_1000)))
    assert tree.get_property("bootargs", "/chosen").value == "quiet"
    assert list(tree.get_property("linux,initrd-end", "/chosen")) == [0, 0x4500_1000]
    assert list(tree.get_property("reg", "/cpus/cpu@101")) == [0x101]
    assert list(tree.get_property("interrupts", "/interrupt-controller@8000000")) == [1, 9, 4]
    assert list(tree.get_property("reg", "/interrupt-controller@8000000/msi-controller@8080000"))[:2] == [0, 0x808_0000]
    assert tree.get_property("method", "/psci").value == "smc"
    assert tree.exist_node("/timer")
    assert tree.exist_node("/serial@9000000")


def test_a_device_that_lies_in_another_is_refused() -> None:
    board = Board(new_gic(GicConfig(redistributors=1, redistributor_base=0x0900_0000), 16 * MIB))
    with pytest.raises(UnusableInput) as refused:
        board.power_on(ENTRY, 0)
    assert str(refused.value) == "PL011 at 0x9000000 lies in GICR0, 0x9000000 to 0x9040000"


def test_frames_that_lie_in_a_device_are_named() -> None:
    config = GicConfig(redistributors=2, redistributor_base=0x0904_0000)
    with pytest.raises(UnusableInput) as refused:
        Board(new_gic(config, 16 * MIB)).power_on(ENTRY, 0)
    assert str(refused.value) == "SMMU at 0x9050000 lies in GICR0 to GICR1, 0x9040000 to 0x90c0000"


def test_most_pes_have_room() -> None:
    gic = new_gic(GicConfig(redistributors=512, its=16, vpt_cache_sets=1, intid_bits=14), 16 * MIB)
    assert math.isfinite(Board(gic).seconds)
