# SPDX-License-Identifier: Apache-2.0
"""Every documented extreme of every field of `GicConfig` is built, and runs; or it is refused with a reason."""

from dataclasses import fields, replace

import numpy as np
import pytest

from gicmodel.config import _RANGES, CHOICES, MOST_COMMANDS, GicConfig
from gicmodel.hardware import Gic
from gicmodel.hardware.snapshot import load_snapshot, save_snapshot
from gicmodel.jit import COMPILED
from gicmodel.layouts.lpi_tables import FIRST_LPI
from gicmodel.memory import PAGE_BYTES, GuestMemory
from tests.driver.host import Host

ARCHITECTURES = CHOICES["architecture"]
TRUTHS = {field.name: (False, True) for field in fields(GicConfig) if isinstance(field.default, bool)}
ALLOWED = _RANGES | CHOICES | TRUTHS | {"commands_per_step": (None, 1, MOST_COMMANDS)}
EXTREMES = [(name, value) for name, values in ALLOWED.items() for value in values if name != "architecture"]
NEEDED = {
    ("collection_id_bits", 1): {"redistributors": 2},  # a collection a CPU
    ("table_cache_lines", 1): {"caching": "retain"},
    ("table_cache_lines", 1 << 24): {"caching": "retain"},
}
"""What a driver needs beside an extreme, and what lets it count."""
LARGE = {("table_cache_lines", 1 << 24)}
"""Plain Python takes minutes to go through these."""
VINTID, BYTE = FIRST_LPI + 3, 0xA3


def test_every_field_has_its_extremes():
    assert ALLOWED.keys() == {field.name for field in fields(GicConfig)}


def work(host: Host) -> None:
    """An LPI of the last device of the last ITS reaches the last CPU; the same event as a vLPI reaches a vPE.

    The very last DeviceID may be that of the driver's doorbell proxy.
    """
    config, driver = host.gic.config, host.driver
    device_id, its, cpu = (1 << config.device_id_bits) - 2, config.its - 1, config.redistributors - 1
    device = driver.lpis.create_device(device_id, 2, its=its)
    driver.lpis.activate(device, 0, cpu)
    host.gic.its[its].translate(device_id, 0)
    assert host.gic.redistributors[cpu].cpu.acknowledge() == device.lpi_base
    assert host.gic.redistributors[cpu].cpu.acknowledge() == 1023
    if config.virtual:
        vpe = driver.vpes.create_vm(1).vpes[0]
        driver.vlpis.map(device, 0, vpe.vm, 0, VINTID, BYTE)
        driver.vpes.schedule(vpe, vpe.col_idx)
        host.gic.its[its].translate(device_id, 0)
        assert host.gic.redistributors[vpe.col_idx].cpu.acknowledge_virtual() == VINTID
        driver.vpes.deschedule(vpe, False)
    assert host.gic.errors == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("name", "value"), EXTREMES, ids=lambda part: str(part))
def test_an_extreme_is_built_and_runs(name, value, architecture):
    if (name, value) in LARGE and not COMPILED:
        pytest.skip("takes minutes in plain Python")
    choices = NEEDED.get((name, value), {}) | {"architecture": architecture, name: value}
    intid_bits = choices.get("intid_bits", 16)
    work(Host(lpi_id_bits=intid_bits, **choices))


WIDEST = {name: high for name, (_, high) in _RANGES.items()}
NARROWEST = {name: low for name, (low, _) in _RANGES.items()} | {"redistributors": 2}
LEAST_CACHED = {"vpt_cache_sets": 256, "table_cache_lines": 1 << 10}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("choices", [NARROWEST, WIDEST | LEAST_CACHED], ids=["narrowest", "widest"])
def test_all_extremes_at_once(architecture, choices):
    work(Host(lpi_id_bits=14, architecture=architecture, **choices))


@pytest.mark.parametrize("choices", [{"its": 16, "redistributors": 512}, {"intid_bits": 14, "vpt_cache_sets": 1 << 16}])
def test_an_extreme_survives_a_snapshot(choices, tmp_path):
    host = Host(lpi_id_bits=14, **choices)
    work(host)
    save_snapshot(host.gic, tmp_path / "snapshot")
    loaded = load_snapshot(tmp_path / "snapshot")
    assert loaded.config == host.gic.config
    for name in ("chip", "slots", "configuration"):
        assert np.array_equal(getattr(loaded.machine, name), getattr(host.gic.machine, name)), name


@pytest.mark.parametrize(
    "choices",
    [
        {"intid_bits": 24, "redistributors": 512, "vpt_cache_sets": 1 << 16, "caching": "retain"},
        {"intid_bits": 24, "vpt_cache_sets": 1 << 10},
        {"intid_bits": 24, "caching": "retain"},
    ],
)
def test_caches_that_no_host_has_room_for_are_refused(choices):
    """514 GiB of them were a MemoryError of the first Gic."""
    with pytest.raises(
        ValueError, match=r"^GicConfig\.vpt_cache_sets is \d+: .* the caches take 0x\w+ bytes, more than"
    ):
        GicConfig(**choices)


def test_the_largest_caches_that_are_allowed_can_be_built():
    config = GicConfig(intid_bits=24, redistributors=512, vpt_cache_sets=256)
    assert config.cache_bytes == 1536 << 21
    Gic(config, GuestMemory(0, PAGE_BYTES))
    Gic(replace(config, intid_bits=20, caching="retain"), GuestMemory(0, PAGE_BYTES))


@pytest.mark.parametrize("name", TRUTHS)
def test_a_truth_is_no_number(name):
    """Kernels ask whether it is 1."""
    with pytest.raises(ValueError, match=rf"^GicConfig\.{name} is 2: True or False$"):
        GicConfig(**{name: 2})


@pytest.mark.parametrize("name", [*_RANGES, "commands_per_step"])
def test_a_number_is_no_truth(name):
    with pytest.raises(ValueError, match=rf"^GicConfig\.{name} is True: "):
        GicConfig(**{name: True})
