# SPDX-License-Identifier: Apache-2.0
"""vSGIs in a dump of GICv4.1: as commands configured them, and pending where the VPT says so."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from gicmodel.hardware import save_snapshot
from gicmodel.images.segments import Segment, read_image, write_elf
from gicmodel.images.sources import read_dump, read_registers
from gicmodel.inspection import PROFILES, Dump, inspect
from gicmodel.inspection.entries import UNKNOWN
from gicmodel.layouts.lpi_tables import VSGI_CONFIGURATION_BYTE, VSGIS
from gicmodel.layouts.registers.its import GITS_SGIR
from tests.hardware.bench import furnished
from tests.inspection.museum import HOST, inspected


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """vSGI 3 of vPE 1 is configured and pending, vSGI 15 configured and disabled; those of vPE 0 are not."""
    bench = furnished(vpt_writeback="immediate")
    for vpe_id in range(2):
        bench.map_vpe(vpe_id, vpe_id)
        bench.memory.zero(bench.vpe(vpe_id)["VPT_addr"], 0x2000)
    bench.run("VSGI", vPEID=1, vINTID=3, Enable=1, Group=1, Priority=0xA)
    bench.run("VSGI", vPEID=1, vINTID=15, Priority=0x5)
    bench.write_its("SGIR", GITS_SGIR.pack(vPEID=1, vINTID=3))
    path = tmp_path_factory.mktemp("vsgis") / "machine.npz"
    save_snapshot(bench.gic, path)
    write_elf(path.with_name("ram.elf"), bench.memory)
    return path


def shown(image, *arguments):
    result = CliRunner().invoke(main, ["inspect", str(image), "--json", *arguments])
    document = json.loads(result.stdout)
    return [
        (row["vPEID"], row["vINTID"], row["enabled"], row["group"], row["priority"], row["pending"])
        for row in document["vsgis"]
    ]


def test_vsgis_are_as_they_were_configured(image):
    three, fifteen = (1, 3, True, 1, "0xa0", True), (1, 15, False, 0, "0x50", False)
    assert shown(image) == [three, fifteen]
    assert shown(image, "--vpe", "1") == [three, fifteen]
    assert shown(image, "--vpe", "0") == []
    assert shown(image, "--pending") == [three]


def test_the_bytes_of_a_vsgi_are_explained(image):
    result = CliRunner().invoke(main, ["inspect", str(image), "--table", "vsgis", "--hex"])
    assert "VSGI_CONFIGURATION at 0x" in result.stdout
    assert "  bytes  a3" in result.stdout


def test_in_an_unknown_format_nothing_is_known(image):
    found = inspect(read_dump(image), read_registers(image), PROFILES["opaque"])
    assert (found.vpes.size, found.vsgis.size) == (2, 0)
    assert [*found.missing][-1] == "vSGIs"
    assert (
        "this format of a VPT's first KiB is not known"
        in CliRunner().invoke(main, ["inspect", str(image), "--profile", "opaque"]).stdout
    )


def test_a_known_format_and_gicv4_0_miss_nothing(image):
    assert "vSGIs" not in inspect(read_dump(image), read_registers(image)).missing
    assert "vSGIs" not in inspected(*HOST).missing


def with_hole(segments, start, size):
    for one in segments:
        low, high = (max(0, min(one.data.size, address - one.address)) for address in (start, start + size))
        for first, end in ((0, low), (high, one.data.size)):
            if first < end:
                yield Segment(one.address + first, one.data[first:end])


def test_absent_configuration_is_not_zero(image):
    whole = read_image(image.with_name("ram.elf"))
    registers = read_registers(image)
    vpt = int(inspect(Dump(whole), registers).vpes["VPT_addr"][0])
    segments = list(with_hole(whole, vpt + VSGI_CONFIGURATION_BYTE, VSGIS))
    rows = inspect(Dump(segments), registers).vsgis
    first = rows[rows["vPEID"] == 0]
    assert first["vINTID"].tolist() == list(range(16))
    assert np.unique(first["configuration"]).tolist() == [UNKNOWN]
    assert np.unique(first["pending"]).tolist() == [0]


def test_a_limit_ends_the_vsgis(image):
    found = inspect(read_dump(image), read_registers(image), limit=24)
    assert "vSGIs" in found.truncated
