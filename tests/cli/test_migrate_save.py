# SPDX-License-Identifier: Apache-2.0
"""`gicmodel migrate --save`, and images with the registers beside them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import UNUSABLE, main
from gicmodel.images.files import replacing
from gicmodel.images.segments import memory_for, read_image
from gicmodel.images.sources import read_registers
from gicmodel.layouts.its_tables import LEVEL1, VPE_CONFIGURATION
from gicmodel.layouts.lpi_tables import FIRST_LPI, table_bytes
from gicmodel.layouts.registers.its import GITS_BASER

CAPTURE = Path(__file__).parents[2] / "tables" / "linux-6.12-kvm-2vcpu"
IMAGE = CAPTURE / "guest-saved-tables.elf.xz"
SMALL = ("--vcpus", 2, "--devices", 2, "--vectors", 4)
SAVED = [f"{host}-{what}" for host in ("destination", "source") for what in ("guest", "host")]


def migrate(*arguments):
    return CliRunner().invoke(main, ["migrate", *map(str, arguments)])


def verdict(image):
    result = migrate(image, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_save_writes_ram_and_registers_of_hosts_and_guests(tmp_path):
    assert migrate(*SMALL, "--save", tmp_path / "new" / "directory").exit_code == 0
    files = sorted(path.name for path in (tmp_path / "new" / "directory").iterdir())
    assert files == sorted(f"{name}.{suffix}" for name in SAVED for suffix in ("elf", "toml"))
    for name in SAVED:
        memory = memory_for(read_image(tmp_path / "new" / "directory" / f"{name}.elf"))
        registers = read_registers(tmp_path / "new" / "directory" / f"{name}.toml")
        for frame in ("BASER0", "BASER1"):
            baser = GITS_BASER.unpack(registers["GITS0"][frame])
            assert baser["Valid"]
            assert memory.covers(baser["Physical_Address"], 0x1000)


def pending_of_vpe(memory, registers, vpe_id):
    """The pending vLPIs of a vPE, found from GITS_BASER2 on: level 1, vPE configuration entry, VPT."""
    level1 = GITS_BASER.unpack(registers["GITS0"]["BASER2"])["Physical_Address"]
    page = LEVEL1.unpack(memory.read_u64(level1))["Physical_Address"]
    entry = VPE_CONFIGURATION.parse(memory.read(page + vpe_id * VPE_CONFIGURATION.bytes, VPE_CONFIGURATION.bytes))
    octets = np.frombuffer(memory.read(entry.VPT_addr, table_bytes(16)), np.uint8)
    return [intid for intid in np.flatnonzero(np.unpackbits(octets, bitorder="little")).tolist() if intid >= FIRST_LPI]


def test_the_saved_source_host_shows_what_was_pending(tmp_path):
    """The flush unmapped every vPE, so its VPTs in RAM are current."""
    assert migrate(*SMALL, "--pending", 1, "--save", tmp_path).exit_code == 0
    memory = memory_for(read_image(tmp_path / "source-host.elf"))
    registers = read_registers(tmp_path / "source-host.toml")
    assert [pending_of_vpe(memory, registers, vpe_id) for vpe_id in (0, 1)] == [
        [8192, 8194, 8196, 8198],
        [8193, 8195, 8197, 8199],
    ]


def test_a_saved_guest_migrates_again(tmp_path):
    assert migrate("--vcpus", 3, "--devices", 2, "--vectors", 5, "--save", tmp_path).exit_code == 0
    code, document = verdict(tmp_path / "source-guest.elf")
    assert code == 0
    assert document["image_identical"] is True
    assert document["vlpis"] == 10
    assert document["pending_before"] == document["pending_after"] > 0


def test_a_resumed_image_can_be_saved(tmp_path):
    assert migrate(IMAGE, "--save", tmp_path).exit_code == 0
    assert sorted(path.stem for path in tmp_path.glob("*.elf")) == SAVED[:2]
    code, document = verdict(tmp_path / "destination-guest.elf")
    assert (code, document["pending_before"], document["image_identical"]) == (0, 2, True)


def test_registers_can_be_given(tmp_path):
    (tmp_path / IMAGE.name).write_bytes(IMAGE.read_bytes())
    assert migrate(tmp_path / IMAGE.name, "--registers", CAPTURE / "registers.toml").exit_code == 0


@pytest.mark.parametrize("name", ["guest-saved-tables.toml", "registers.toml"])
def test_registers_are_found_beside_the_image(tmp_path, name):
    (tmp_path / IMAGE.name).write_bytes(IMAGE.read_bytes())
    (tmp_path / name).write_bytes((CAPTURE / "registers.toml").read_bytes())
    assert migrate(tmp_path / IMAGE.name).exit_code == 0


@pytest.mark.parametrize("suffix", [".raw", ".raw.xz", ".bin"])
def test_raw_bytes_are_resumed_as_the_elf_core_is(tmp_path, suffix):
    memory = memory_for(read_image(IMAGE))
    raw = tmp_path / f"guest{suffix}"
    with replacing(raw) as file:
        file.write(memory.octets.data)
    (tmp_path / "guest.toml").write_bytes((CAPTURE / "registers.toml").read_bytes())
    outcomes = [migrate(*arguments, "--json") for arguments in ((IMAGE,), (raw, "--base", hex(memory.base)))]
    assert [outcome.exit_code for outcome in outcomes] == [0, 0]
    of_elf, of_raw = (json.loads(outcome.stdout) | {"steps": None} for outcome in outcomes)
    assert of_elf == of_raw
    assert of_raw["image_identical"]


def test_ram_that_cannot_be_saved_is_no_reason_to_keep_the_verdict(tmp_path):
    """Nobody can tell before that nothing can be made in /proc."""
    result = migrate(*SMALL, "--save", "/proc/save", "--json-file", tmp_path / "verdict.json")
    assert result.exit_code == UNUSABLE
    assert result.stderr == "gicmodel: /proc/save: cannot be made: No such file or directory\n"
    assert "arrived once" in result.stdout
    assert json.loads((tmp_path / "verdict.json").read_text())["lost"] == []


@pytest.mark.parametrize("option", ["--save", "--json-file"])
def test_an_empty_name_is_no_place(option, monkeypatch, tmp_path):
    """Path("") is the directory one is in."""
    monkeypatch.chdir(tmp_path)
    result = migrate(*SMALL, option, "")
    assert (result.exit_code, result.stdout) == (UNUSABLE, "")
    assert "an empty name is no" in result.stderr
    assert list(tmp_path.iterdir()) == []
