# SPDX-License-Identifier: Apache-2.0
"""`gicmodel inspect --browse`, by textual's own pilot and on a real terminal's screen."""

import asyncio
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.cli.outline import STEP, Item, Outline
from gicmodel.images.registers import write_registers
from gicmodel.images.segments import write_elf
from gicmodel.inspection import Dump
from gicmodel.inspection.entries import DEVICES
from gicmodel.inspection.octets import hexdump
from gicmodel.inspection.rules import find
from tests.conftest import needed
from tests.inspection.machine import DEVICES as DEVICE_TABLE
from tests.inspection.machine import VCONF, VPT1, Machine, SavedGuest
from tests.inspection.museum import HOST, inspected

PATIENCE = 60
"""Seconds until what a screen should show is taken to be missing; it is looked at again and again until then."""


@pytest.fixture(scope="module")
def host():
    found = inspected(*HOST)
    return Outline(found, find(found))


def stuck():
    """A machine with a pending vLPI that is disabled: a finding."""
    machine = Machine()
    machine.pend(VPT1, 8194)
    machine.configure(VCONF, 8194, enable=0)
    return machine


def lines(outline):
    """Every line of the whole tree, and that every item has its details."""

    def below(item, depth):
        yield "  " * depth + outline.label(item)
        assert outline.detail(item)
        for child in outline.children(item):
            yield from below(child, depth + 1)

    return [line for root in outline.roots() for line in below(root, 0)]


@pytest.mark.parametrize("frame", ["GICR0", "GICR1"])
@pytest.mark.parametrize("make", [Machine, SavedGuest])
def test_registers_that_the_architecture_lacks_have_a_value_and_no_fields(make, frame):
    machine = make()
    machine.registers[frame] |= {"FOO": 1, "VPENDBASER": 2, "INVLPIR": 3, "RD_base": 0x80A_0000}
    found = machine.inspect()
    shown = Outline(found, find(found)).detail(Item("redistributors", int(frame[4:]), int(frame[4:]) + 1, False))
    assert {f"{frame}_FOO  0x1", f"{frame}_VPENDBASER  0x2", f"{frame}_RD_base  0x80a0000"} <= set(shown)
    assert any(line.startswith("  EnableLPIs") for line in shown)


def test_the_tree_of_a_real_host(host):
    assert lines(host)[:8] == [
        "devices (3)",
        "  device 0x8: ITT at 0x438df800",
        "    event 0: vINTID 8192 -> vPE 1 -> redistributor 0",
        "    event 1: vINTID 8193 -> vPE 0 -> redistributor 1 pending",
        "    event 2: vINTID 8194 -> vPE 1 -> redistributor 0 pending",
        "  device 0x10: ITT at 0x43272600",
        "    event 0: INTID 8192 -> collection 0 -> redistributor 0",
        "    event 1: INTID 8193 -> collection 0 -> redistributor 0",
    ]
    assert "    pending vINTID 8194: 1 events" in lines(host)


def test_details_are_values_bytes_and_fields(host):
    event = next(host.places_of(8193))[-1]
    detail = host.detail(event)
    assert "vPEID     0" in detail
    assert any(line.startswith("ITE at 0x438df80c, file offset 0x8380c") for line in detail)
    assert any("IntID" in line and "0x2001" in line for line in detail)


def test_an_intid_is_found_wherever_it_is(host):
    kinds = [[item.kind for item in place] for place in host.places_of(8193)]
    event, pending = ["devices", "devices", "events"], ["vpes", "vpes", "pending"]
    assert kinds == [event, event, pending]
    assert list(host.places_of(1)) == []


def test_an_address_is_an_entry_or_else_in_a_table(host):
    assert [place[-1].kind for place in host.places_at(0x438DF80C)] == ["events"]
    assert [host.label(place[-1]) for place in host.places_at(0x431D0000)] == [
        "0x431d0000: device table (GITS0_BASER0)"
    ]
    assert list(host.places_at(0)) == []


def test_many_items_are_folded_into_groups(host):
    found = inspected(*HOST)
    count = STEP * STEP + 1
    found.devices = np.zeros(count, DEVICES)
    found.devices["DeviceID"] = np.arange(count)
    outline = Outline(found, find(found))
    (top,) = [root for root in outline.roots() if root.kind == "devices"]
    first, last = outline.children(top)
    assert (first, last) == (Item("devices", 0, count - 1, True), Item("devices", count - 1, count, True))
    assert outline.label(first) == "device 0x0 .. device 0xffff"
    assert len(outline.children(first)) == STEP
    assert outline.children(last) == [Item("devices", count - 1, count, False)]


def test_bytes_that_the_dump_lacks_are_shown_as_such():
    machine = Machine()
    machine.holes = [(DEVICE_TABLE + 8, DEVICE_TABLE + 24)]
    shown = list(hexdump(Dump(machine.segments()), DEVICE_TABLE, 128))
    assert shown[0].endswith("00 00 00 00 00 00 00 00 -- -- -- -- -- -- -- --")
    assert shown[1].startswith(f"{DEVICE_TABLE + 16:#x}  -  -- --")
    assert shown[3] == "*" or "*" in shown


def walk(outline, *steps):
    """Press keys and wait for a text to be in the label under the cursor, the details or the status line."""
    needed("textual")
    from gicmodel.cli.browser import Browser

    async def run():
        app = Browser("a dump", outline)
        async with app.run_test(size=(150, 50)) as pilot:
            for keys, wanted in steps:
                await pilot.press(*keys)
                end = time.monotonic() + PATIENCE
                while wanted not in (seen := text_of(app)):
                    assert time.monotonic() < end, seen
                    await pilot.pause(0.02)

    asyncio.run(run())


def text_of(app):
    node = app.query_one("#tree").cursor_node
    parts = [node.label if node is not None else "", *(app.query_one(name).content for name in ("#detail", "#status"))]
    return "\n".join(map(str, parts))


def test_searching_by_intid_walks_from_place_to_place(host):
    walk(
        host,
        (["slash", *"8193", "enter"], "event 1: vINTID 8193 -> vPE 0"),
        ("n", "event 1: INTID 8193 -> collection 0"),
        ("n", "pending vINTID 8193"),
        ("n", "no more places"),
        (["slash", *"77", "enter"], "no event and no pending interrupt has INTID 77"),
        (["slash", *"x", "enter"], "'x' is not a number"),
        (["slash", *"9", "escape", "g", *"0x438df80c", "enter"], "ITE at 0x438df80c"),
        (["g", *"0", "enter"], "nothing of the GIC is at 0x0"),
        ("f", "no findings"),
    )


def test_arrows_unfold_the_tree(host):
    walk(host, (["down", "enter", "down"], "ITT at 0x438df800"), (["enter", "down"], "event 0: vINTID 8192"))


def test_a_finding_leads_to_its_entry():
    machine = stuck()
    found = machine.inspect()
    walk(
        Outline(found, find(found)),
        ("f", "findings (1)"),
        (["enter", "down"], "pending-disabled"),
        (["enter"], "pending vINTID 8194"),
    )


def test_without_a_terminal_it_is_one_line():
    needed("textual")
    result = CliRunner().invoke(main, ["inspect", str(HOST[0]), "--browse"])
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert result.stderr == "gicmodel: --browse needs a terminal\n"


def test_without_textual_it_is_one_line(monkeypatch):
    monkeypatch.setattr("gicmodel.cli.inspect.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["inspect", str(HOST[0]), "--browse"])
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert result.stderr == "gicmodel: --browse needs textual: pip install 'gicmodel[tui]'\n"


class Screen:
    """A terminal of tmux, whose screen can be read."""

    def __init__(self, directory, command, columns=150):
        self.tmux = ["tmux", "-u", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        # COLUMNS and LINES would overrule what the terminal says of its size.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environment = inherited | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        scrolled = ["start-server", ";", "set-option", "-g", "history-limit", "20000", ";"]
        start = [*self.tmux, *scrolled, "new-session", "-d", "-x", str(columns), "-y", "50", *command]
        subprocess.run(start, env=environment, check=True)

    def press(self, *keys):
        subprocess.run([*self.tmux, "send-keys", *keys], check=True)

    def wait_for(self, wanted):
        end = time.monotonic() + PATIENCE
        while wanted not in (seen := self.text()):
            assert time.monotonic() < end, f"{wanted!r} is not on the screen:\n{seen}"
            time.sleep(0.05)

    def text(self):
        return subprocess.run([*self.tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout


@pytest.mark.needs("tmux")
def test_on_a_real_terminal(tmp_path):
    needed("textual")
    machine = stuck()
    image = tmp_path / "ram.elf"
    write_elf(image, machine.memory)
    write_registers(tmp_path / "ram.toml", machine.registers)
    program = "import sys; from gicmodel.cli import main; main(sys.argv[1:])"
    verb = [sys.executable, "-c", program, "inspect", str(image), "--browse"]
    status = tmp_path / "status"
    screen = Screen(tmp_path, ["sh", "-c", '"$@"; echo $? >"$0"; sleep 600', str(status), *verb])
    try:
        screen.wait_for("findings (")
        screen.press("/")
        screen.wait_for("INTID")
        screen.press("8194", "Enter")
        screen.wait_for("event 0: vINTID 8194 -> vPE 1")
        screen.wait_for("ITE at 0x")
        screen.press("q")
        end = time.monotonic() + PATIENCE
        while not status.exists() or not status.read_text():
            assert time.monotonic() < end, screen.text()
            time.sleep(0.05)
        assert status.read_text() == "1\n"
    finally:
        subprocess.run([*screen.tmux, "kill-server"], check=False)
