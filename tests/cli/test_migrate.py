# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate`: what it says, what it writes, and its exit status."""

import json
import os
import pty
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.jit import COMPILED
from gicmodel.kvm.sgi import Sgis

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"
IMAGE = CAPTURE / "guest-saved-tables.elf.xz"
SMALL = ("--vcpus", 2, "--devices", 2, "--vectors", 4)
OF_A = {"vlpis", "pending_before", "pending_after", "lost", "duplicated", "image_identical", "steps"}
KEYS = OF_A | {"policy", "commands", "unmaps", "vsgis"}
STEPS = [
    "precopy RAM",
    "pause vCPUs",
    "pause devices",
    "flush ITS tables",
    "flush pending tables",
    "copy dirty RAM",
    "save registers",
    "restore redistributors",
    "restore ITS registers",
    "restore ITS tables",
    "set forwarding",
    "resume devices",
]
STEPS_OF_AN_IMAGE = [*STEPS[7:11], "pause devices", "flush ITS tables", "flush pending tables"]


def migrate(*arguments):
    return CliRunner().invoke(main, ["migrate", *map(str, arguments)])


def in_a_process(*arguments, stderr=subprocess.PIPE):
    """The command as a shell runs it, on a terminal that has colours."""
    program = "import sys; from gicmodel.cli import main; sys.argv[0] = 'gicmodel'; main()"
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-c", program, "migrate", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, check=False)


def verdict(*arguments):
    result = migrate(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


def rows(text):
    """The table of steps as [name, milliseconds, bytes], and the lines below it without those of vSGIs and policy."""
    lines = text.splitlines()
    assert lines[0].split() == ["step", "ms", "bytes"]
    table = [re.fullmatch(r"(\S.*?) +(\d+\.\d) +([\d,]+)", line) for line in lines[1:]]
    matched = [match.groups() for match in table if match]
    below = lines[1 + len(matched) :]
    if below[1].startswith("vSGIs"):
        assert re.fullmatch(r"vSGIs: (\d+) pending before, \1 after; \d+ delivered, 0 lost, 0 doubled", below.pop(1))
    assert re.fullmatch(r"policy [a-z-]+: \d+ ITS commands, vPEs unmapped \d+ times", below.pop(1))
    return matched, below


def test_a_vm_that_is_made_up():
    result = migrate(*SMALL, "--pending", 1)
    assert (result.exit_code, result.stderr) == (0, "")
    table, below = rows(result.stdout)
    assert [name for name, _, _ in table] == STEPS
    assert int(table[0][2].replace(",", "")) % 4096 == 0
    assert below == [
        "8 vLPIs: 8 pending before, 8 after; 8 delivered, 0 lost, 0 doubled",
        "every pending vLPI arrived once, on its vCPU",
    ]


def test_json_of_a_vm_that_is_made_up():
    code, document = verdict(*SMALL)
    assert code == 0
    assert set(document) == KEYS
    steps = document.pop("steps")
    assert [step["name"] for step in steps] == STEPS
    assert all(set(step) == {"name", "seconds", "bytes"} for step in steps)
    assert all(isinstance(step["seconds"], float) and step["seconds"] >= 0 for step in steps)
    assert all(isinstance(step["bytes"], int) and step["bytes"] % 4096 == 0 for step in steps)
    assert steps[0]["bytes"] > steps[5]["bytes"] > 0
    assert document.pop("commands")["VMAPTI"] == 8
    pending = document.pop("pending_before")
    assert 0 < pending < 8
    sgis = document["vsgis"]["pending_before"]
    assert 0 < sgis < 32
    assert document == {
        "vlpis": 8,
        "pending_after": pending,
        "lost": [],
        "duplicated": [],
        "image_identical": None,
        "policy": "avoid-unset",
        "unmaps": 2,
        "vsgis": {"pending_before": sgis, "pending_after": sgis},
    }


def test_vsgis_are_counted_and_lost_ones_named(monkeypatch):
    result = migrate("--vcpus", 1, "--devices", 1, "--vectors", 2, "--pending", 1)
    assert "\nvSGIs: 16 pending before, 16 after; 16 delivered, 0 lost, 0 doubled\n" in result.stdout
    monkeypatch.setattr(Sgis, "restore_pending", lambda self, vcpu, number, pending, reaches_gic: None)
    code, document = verdict("--vcpus", 1, "--devices", 1, "--vectors", 2, "--pending", 1)
    assert (code, document["vsgis"]) == (1, {"pending_before": 16, "pending_after": 0})
    assert document["lost"] == [{"vcpu": 0, "intid": number} for number in range(16)]
    assert "\nlost: vSGI 0 of vCPU 0\n" in migrate("--vcpus", 1, "--devices", 1, "--pending", 1).stdout


def test_the_real_image():
    result = migrate(IMAGE)
    assert (result.exit_code, result.stderr) == (0, "")
    table, below = rows(result.stdout)
    assert [name for name, _, _ in table] == STEPS_OF_AN_IMAGE
    assert below == [
        "6 vLPIs: 2 pending before, 2 after; 2 delivered, 0 lost, 0 doubled",
        "saved again: identical to the image",
        "every pending vLPI arrived once, on its vCPU",
    ]


def test_json_of_the_real_image():
    code, document = verdict(IMAGE)
    assert code == 0
    assert set(document) == KEYS
    assert [step["name"] for step in document.pop("steps")] == STEPS_OF_AN_IMAGE
    assert {name: document["commands"][name] for name in ("VMAPTI", "INT", "DISCARD")} == {
        "VMAPTI": 6,
        "INT": 2,
        "DISCARD": 6,
    }
    del document["commands"]
    assert document == {
        "vlpis": 6,
        "pending_before": 2,
        "pending_after": 2,
        "lost": [],
        "duplicated": [],
        "image_identical": True,
        "policy": "avoid-unset",
        "unmaps": 2,
        "vsgis": {"pending_before": 0, "pending_after": 0},
    }


def test_json_in_a_file_and_text_on_standard_output(tmp_path):
    result = migrate(*SMALL, "--json-file", tmp_path / "verdict.json")
    assert result.exit_code == 0
    assert "every pending vLPI arrived once" in result.stdout
    assert set(json.loads((tmp_path / "verdict.json").read_text())) == KEYS
    assert [path.name for path in tmp_path.iterdir()] == ["verdict.json"]


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="minutes on the Python engine")
def test_the_whole_lpi_space(tmp_path):
    """Every LPI that 16 bits of INTID have room for, in well under 2 GiB."""
    file = tmp_path / "verdict.json"
    result = in_a_process("--vcpus", 64, "--devices", 448, "--vectors", 128, "--json-file", file)
    document = json.loads(file.read_text())
    assert (result.returncode, document["lost"], document["duplicated"]) == (0, [], [])
    assert document["vlpis"] == (1 << 16) - 8192
    assert document["pending_before"] == document["pending_after"] > 10_000
    unit = 1 if sys.platform == "darwin" else 1024
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit < 2 << 30


def without_times(document):
    return document | {"steps": [step | {"seconds": None} for step in document["steps"]]}


def test_the_seed_decides_which_are_pending(tmp_path):
    runs = [migrate(*SMALL, "--seed", seed, "--save", tmp_path / f"{n}") for n, seed in enumerate((5, 5, 6))]
    assert [run.exit_code for run in runs] == [0, 0, 0]
    one, again, other = ((tmp_path / f"{n}" / "source-guest.elf").read_bytes() for n in range(3))
    assert one == again
    assert one != other
    assert without_times(verdict(*SMALL, "--seed", 5)[1]) == without_times(verdict(*SMALL, "--seed", 5)[1])


@pytest.mark.parametrize(
    ("arguments", "vlpis", "conclusion"),
    [
        (("--pending", 0), 256, "no vLPI was pending, so there was nothing to lose"),
        (("--devices", 0), 0, "every pending vSGI arrived once, on its vCPU"),
    ],
)
def test_nothing_pending_is_said_to_prove_nothing(arguments, vlpis, conclusion):
    result = migrate(*arguments)
    assert result.exit_code == 0
    assert rows(result.stdout)[1] == [
        f"{vlpis} vLPIs: 0 pending before, 0 after; 0 delivered, 0 lost, 0 doubled",
        conclusion,
    ]


def test_gicv40_cannot_and_says_why(tmp_path):
    result = migrate(*SMALL, "--pending", 1, "--architecture", "4.0", "--json-file", tmp_path / "verdict.json")
    assert (result.exit_code, result.stderr) == (1, "")
    table, below = rows(result.stdout)
    assert [name for name, _, _ in table] == STEPS[:3]
    cause = (
        "flush ITS tables: EACCES: device 0x8, event 0x0: "
        "the state of a forwarded vLPI cannot be saved on a host without GICv4.1"
    )
    assert below == [
        "8 vLPIs: 8 pending before, 8 after; 8 delivered, 0 lost, 0 doubled",
        f"not migrated: {cause}; the guest goes on where it was and has lost nothing",
    ]
    document = json.loads((tmp_path / "verdict.json").read_text())
    assert set(document) == KEYS | {"error"}
    assert document["error"] == cause


def test_gicv40_cannot_save_the_image_either():
    code, document = verdict(IMAGE, "--architecture", "4.0")
    assert code == 1
    assert document["error"].startswith("flush ITS tables: EACCES: ")
    assert (document["pending_after"], document["lost"], document["image_identical"]) == (2, [], None)


def test_interrupts_that_are_lost_are_named(tmp_path):
    """All vectors are set, and then once more all are reset."""
    size = ("--vcpus", 2, "--devices", 1, "--vectors", 16, "--pending", 1)
    result = migrate(*size, "--policy", "rfc", "--forwarding-resets", 16, "--json-file", tmp_path / "verdict.json")
    assert result.exit_code == 1
    below = rows(result.stdout)[1]
    assert below[0] == "16 vLPIs: 16 pending before, 0 after; 0 delivered, 16 lost, 0 doubled"
    assert below[1:3] == ["lost: vLPI 8192 of vCPU 0", "lost: vLPI 8194 of vCPU 0"]
    assert below[11:] == ["lost: 6 more", "the migration did not hold"]
    document = json.loads((tmp_path / "verdict.json").read_text())
    assert document["lost"][0] == {"vcpu": 0, "intid": 8192}
    assert len(document["lost"]) == 16


def test_an_image_that_is_not_saved_as_it_was(monkeypatch):
    from gicmodel.kvm import Vgic

    monkeypatch.setattr(Vgic, "save_pending_tables", lambda vgic: vgic.memory.write_u8(vgic.dist.pending_tables[0], 1))
    result = migrate(IMAGE)
    assert result.exit_code == 1
    assert rows(result.stdout)[1][1:] == ["saved again: NOT the bytes it was", "the migration did not hold"]


def is_compiler_notice(text):
    return re.fullmatch(r"(gicmodel: compiling \d+ kernels.*\n)?", text)


def test_no_colour_and_no_progress_in_a_pipe():
    result = in_a_process(*SMALL)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout
    assert is_compiler_notice(result.stderr)
    assert len(rows(result.stdout)[0]) == len(STEPS)


@pytest.mark.parametrize(("options", "shown"), [((), True), (("--no-progress",), False)])
def test_progress_is_on_a_terminals_stderr_only(options, shown):
    terminal, stderr = pty.openpty()
    result = in_a_process(*SMALL, *options, "--json", stderr=stderr)
    os.close(stderr)
    seen = b""
    try:
        while block := os.read(terminal, 4096):
            seen += block
    except OSError:
        pass  # the end of a terminal that nobody writes to any more
    os.close(terminal)
    assert set(json.loads(result.stdout)) == KEYS
    assert (b"\x1b" in seen) is shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("--vcpus", 0),
        ("--vcpus", 513),
        ("--devices", -1),
        ("--vectors", 0),
        ("--pending", 1.5),
        ("--pending", "nan"),
        ("--architecture", "3"),
        ("--seed", -1),
        ("--no-such-option",),
        (IMAGE, IMAGE),
    ],
)
def test_usage(arguments):
    result = migrate(*arguments)
    assert result.exit_code == UNUSABLE
    assert result.stdout == ""


def test_help_is_there_without_numba():
    program = "import sys; from gicmodel.cli import main; main(['migrate', '--help'], standalone_mode=False); "
    program += "sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=False).returncode == 0
