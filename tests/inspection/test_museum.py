# SPDX-License-Identifier: Apache-2.0
"""Every image in tables/ has a README, and the decode that `gicmodel inspect` still prints."""

import json

import pytest
from click.testing import CliRunner

from gicmodel.cli import main
from tests.inspection.museum import TABLES

OF_A_REPLAY = "linux-6.1-cover-letter-gicv4.1"
"""Has the pages that a replay is compared with, and not the tables whole: tests/kvm/test_recorded_cover_letter.py."""
IMAGES = [image for image in sorted(TABLES.glob("*/*.elf.xz")) if image.parent.name != OF_A_REPLAY]


def decode_of(image):
    return image.with_name(image.name.removesuffix(".elf.xz") + ".decode.json")


def test_there_are_real_and_golden_images():
    assert {image.parent.name for image in IMAGES} == {
        "linux-6.12-kvm-2vcpu",
        "linux-virt-dumps",
        "gicmodel-v4.1-2vcpu",
    }


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_an_image_says_where_it_comes_from(image):
    assert f"`{image.name}`" in (image.parent / "README.md").read_text()


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_an_image_decodes_to_what_is_kept_beside_it(image, monkeypatch):
    kept = decode_of(image).read_text()
    (registers,) = json.loads(kept)["registers_from"]
    monkeypatch.chdir(image.parent)
    given = [] if registers.startswith("in the dump: ") else ["--registers", registers]
    result = CliRunner().invoke(main, ["inspect", image.name, *given, "--json"])
    assert result.exit_code == 0
    assert result.stdout == kept


def test_the_golden_guest_has_pending_what_its_host_has_in_the_vpts():
    source = TABLES / "gicmodel-v4.1-2vcpu"
    host, guest = (json.loads((source / f"source-{which}.decode.json").read_text()) for which in ("host", "guest"))
    assert [(row["target"], row["INTID"]) for row in host["pending"]] == [(0, 8194), (1, 8193), (1, 8195)]
    assert [(row["target"], row["INTID"]) for row in guest["pending"]] == [(0, 8194), (1, 8193), (1, 8195)]
    assert (host["profile"], guest["profile"]) == ("gicmodel", "kvm-rev0")
