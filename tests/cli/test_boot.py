# SPDX-License-Identifier: Apache-2.0
"""`gicmodel boot`: what it prints, its exit status, and the terminal as it was."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gicmodel.cli import UNUSABLE, main
from tests.conftest import needed

needed("unicorn")
needed("fdt")

from tests.board import assembly as asm
from tests.board import programs

PATIENCE = 120.0
HELLO = [*programs.show("hello\r\n"), *programs.power_off()]


@pytest.fixture
def flat(tmp_path: Path) -> Callable[..., str]:
    """A file with a flat binary."""

    def write(*words: int) -> str:
        path = tmp_path / "program"
        path.write_bytes(asm.code(*words, asm.LOOP))
        return str(path)

    return write


def boot(*arguments: str) -> Result:
    memory = () if "--resume" in arguments else ("--memory", "16M")
    return CliRunner().invoke(main, ["boot", *memory, *arguments])


def test_a_program_runs_and_the_report_says_what_the_gic_saw(flat: Callable[..., str]) -> None:
    result = boot(flat(*programs.timer_interrupt(HELLO)))
    assert result.exit_code == 0, result.output
    assert result.output.startswith("hello\n\nthe software powered off, after 0.000 s of the guest's time: ")
    assert "PPI     0      1" in result.output


def test_json_is_alone_on_standard_output(flat: Callable[..., str]) -> None:
    result = boot(flat(*programs.timer_interrupt(HELLO)), "--json")
    document = json.loads(result.stdout)
    assert (document["ending"], document["interrupts"]) == ("OFF", {"PPI": {"0": 1}})
    assert (document["command_errors"], document["pes"][0]["number"]) == ([], 0)
    assert result.stderr == "hello\n"


def test_a_failed_command_is_named_and_is_exit_1(flat: Callable[..., str]) -> None:
    result = boot(flat(*programs.bad_command(), *programs.power_off()))
    assert result.exit_code == 1
    assert "command error: 0x01eefd OPCODE_0xee_UNKNOWN_COMMAND at 0x0 of ITS 0" in result.output


@pytest.mark.parametrize(
    ("words", "options", "code", "says"),
    [
        ([], ("--timeout", "0.3"), 1, "the time ran out"),
        ([asm.WFI], (), 1, "every PE waits, and nothing will come"),
        ([*programs.set_system(asm.VBAR_EL1, 0), asm.SVC], (), 1, "PE 0 takes exceptions at 0x200"),
        ([*programs.store(0x1_0000_0000_0000, 1)], ("--timeout", "20"), 1, "PE 0"),
        ([0], ("--timeout", "20"), 1, "PE 0 takes exceptions"),
        (programs.firmware(programs.SYSTEM_RESET), (), 1, "the software asked for a reset"),
        ([*programs.show("ready\n")], ("--expect", "^re.dy$"), 0, "the console showed what was expected"),
        ([*programs.show("ready\n"), *programs.power_off()], ("--expect", "ready"), 0, "the console showed what was"),
        ([*programs.show("ready\n"), *programs.power_off()], ("--expect", "never"), 1, "the software powered off"),
    ],
)
def test_how_it_ends(
    flat: Callable[..., str], words: list[int], options: tuple[str, ...], code: int, says: str
) -> None:
    result = boot(flat(*words), *options)
    assert (result.exit_code, says in result.output) == (code, True), result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "there must be either IMAGE or --resume FILE"),
        (("IMAGE", "--resume", "IMAGE", "--json"), "there must be either IMAGE or --resume FILE"),
        (("--resume", "IMAGE"), "is no gicmodel snapshot"),
        (("--resume", "IMAGE", "--cpus", "2"), "no --cpus"),
        (("--resume", "IMAGE", "--config", "its=2"), "no --config"),
        (("--resume", "IMAGE", "--trace", "t"), "no --trace"),
        (("IMAGE", "--trace", "/nowhere/t"), "/nowhere is not a directory"),
        (("IMAGE", "--trace", "/dev/null", "--config", "its=2"), "a trace is of a GIC with one ITS"),
        (("missing",), "missing: cannot be read: No such file"),
        (("IMAGE", "--initrd", "missing"), "missing: cannot be read"),
        (("IMAGE", "--memory", "3"), "'3' is not from 4M to 256G"),
        (("IMAGE", "--memory", "5000G"), "'5000G' is not from 4M to 256G"),
        (("IMAGE", "--cpus", "0"), "0 is not in the range"),
        (("IMAGE", "--expect", "("), "'(' is no regular expression"),
        (("IMAGE", "--timeout", "nan"), "nan is not in the range"),
        (("IMAGE", "--config", "caching"), "--config caching: FIELD=VALUE, with FIELD one of architecture, "),
        (("IMAGE", "--config", "none=1"), "--config none=1: FIELD=VALUE"),
        (("IMAGE", "--config", "caching=maybe"), "GicConfig.caching is 'maybe'"),
        (("IMAGE", "--config", "pta=7"), "GicConfig.pta is '7': True or False"),
        (("IMAGE", "--config", "its=many"), "GicConfig.its is 'many'"),
        (("IMAGE", "--config", "commands_per_step=0"), "GicConfig.commands_per_step is 0"),
        (("IMAGE", "--config", "redistributor_base=0x9000000"), "lies in"),
        (("IMAGE", "--config", "redistributor_base=0x8000000"), "lies in the frames of"),
    ],
)
def test_unusable_input_is_one_line_and_exit_2(
    flat: Callable[..., str], tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    image = flat(asm.WFI)
    result = boot(*(image if argument == "IMAGE" else argument for argument in arguments))
    assert result.exit_code == UNUSABLE, result.output
    assert says in result.output
    assert result.output.count("\n") == 1


def test_a_board_is_saved_and_goes_on(flat: Callable[..., str], tmp_path: Path) -> None:
    image = flat(*programs.show("a\n"), *programs.spin(2_000_000), *programs.show("b\n"), *programs.power_off())
    saved = str(tmp_path / "board.npz")
    assert boot(image, "--expect", "a", "--snapshot", saved).exit_code == 0
    result = boot("--resume", saved)
    assert (result.exit_code, result.output.split("\n")[0]) == (0, "b")


def test_a_trace_replays_as_the_board_ended(flat: Callable[..., str], tmp_path: Path) -> None:
    trace, end = str(tmp_path / "gic.trace.xz"), str(tmp_path / "end.npz")
    image = flat(*programs.timer_interrupt([*programs.bad_command(), *programs.power_off()]))
    assert boot(image, "--trace", trace, "--snapshot", end).exit_code == 1
    result = CliRunner().invoke(main, ["replay", trace, "--compare", end, "--registers", end, "--json"])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"], document["commands_by_kind"]) == (0, "equal", {"unknown": 1})
    assert document["acknowledges"] == 1


class OnTerminal:
    """`gicmodel boot` on a pseudo terminal."""

    def __init__(self, image: str, *options: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.before = termios.tcgetattr(self.theirs)
        command = [sys.executable, "-m", "gicmodel", "boot", image, "--memory", "16M", "--engine", "python", *options]
        # A job that a script leaves behind ignores SIGINT, one of nohup SIGHUP: a user at a terminal has neither.
        before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGINT)}
        try:
            self.process = subprocess.Popen(command, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.shown = b""

    def until(self, text: bytes) -> None:
        end = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.ours], [], [], 1)[0]:
                self.shown += os.read(self.ours, 4096)

    def type(self, octets: bytes) -> None:
        os.write(self.ours, octets)

    def end(self) -> int:
        """The exit status; the terminal is as it was."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, self.shown
            if select.select([self.ours], [], [], 0.2)[0]:
                self.shown += os.read(self.ours, 4096)
        assert termios.tcgetattr(self.theirs) == self.before
        os.close(self.ours)
        os.close(self.theirs)
        return self.process.returncode


def echo() -> list[int]:
    """Show what is typed, with one added to each octet."""
    uart, flags, octet = 20, 21, 22
    return [
        *asm.mov(uart, programs.addresses.UART_BASE),
        *programs.show("ready\r\n"),
        0xB940_1800 | uart << 5 | flags,  # LDR Wflags, [Xuart, #0x18]: UARTFR
        0x3727_FFE0 | flags,  # TBNZ Wflags, #4 (RXFE), -4
        asm.load32(octet, uart),
        asm.add(octet, 1),
        asm.store32(octet, uart),
        asm.branch(-5),
    ]


def test_ctrl_c_is_the_guest_s_and_ctrl_a_x_leaves(flat: Callable[..., str]) -> None:
    terminal = OnTerminal(flat(*echo()))
    terminal.until(b"ready\r\n")
    terminal.type(b"a\x03\x01\x01")
    terminal.until(b"b\x04\x02")
    terminal.type(b"\x01q\x01x")
    assert terminal.end() == 0
    assert b"left" in terminal.shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_leaves_the_terminal_as_it_was(flat: Callable[..., str], number: int, status: int) -> None:
    terminal = OnTerminal(flat(*echo()))
    terminal.until(b"ready\r\n")
    terminal.process.send_signal(number)
    assert terminal.end() == status


def test_what_has_to_be_compiled_is_said_once(flat: Callable[..., str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gicmodel", "boot", flat(*HELLO), "--engine", "python"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    runs = [subprocess.run(command, env=environment, capture_output=True, text=True) for _ in range(2)]
    assert [(run.returncode, run.stderr) for run in runs] == [
        (0, "gicmodel: compiling the board's hooks (first run only, some seconds)\n"),
        (0, ""),
    ]


def test_a_pipe_is_what_is_typed(flat: Callable[..., str]) -> None:
    command = [sys.executable, "-m", "gicmodel", "boot", flat(*echo()), "--engine", "python", "--expect", "BCD"]
    result = subprocess.run(command, input=b"ABC", capture_output=True, timeout=PATIENCE)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"ready\r\nBCD")
