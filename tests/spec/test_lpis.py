# SPDX-License-Identifier: Apache-2.0
"""Physical LPIs in the oracle: mapping, delivery, moves, priority, EnableLPIs."""

from collections.abc import Callable

import pytest

from gicmodel.spec import SPURIOUS, AbstractGic, Syndrome

ENABLED = 0xA3
Run = Callable[..., None]


@pytest.fixture(autouse=True)
def mapped(oracle: AbstractGic, run: Run) -> None:
    """Device 1 has 8 events; event n leads to LPI 8192 + n of collection 0, on redistributor 0."""
    run("MAPD", DeviceID=1, Size=2, ITT_addr=0x1000, V=1)
    for icid in range(3):
        run("MAPC", ICID=icid, RDbase=icid, V=1)
    for event in range(4):
        run("MAPTI", DeviceID=1, EventID=event, pINTID=8192 + event, ICID=0)
        oracle.set_configuration(8192 + event, ENABLED)


def test_int_and_a_device_write_do_the_same(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    assert oracle.translate(0, 1, 1) is Syndrome.FORWARDED
    assert oracle.pending(0) == {8192, 8193}


def test_clear_and_discard_clear_pending_state(oracle: AbstractGic, run: Run) -> None:
    for event in range(2):
        run("INT", DeviceID=1, EventID=event)
    run("CLEAR", DeviceID=1, EventID=0)
    run("DISCARD", DeviceID=1, EventID=1)
    assert oracle.pending(0) == set()
    assert oracle.translate(0, 1, 0) is Syndrome.FORWARDED
    assert oracle.translate(0, 1, 1) is Syndrome.EVENT_UNMAPPED


def test_mapi_uses_the_event_id(oracle: AbstractGic, run: Run) -> None:
    run("MAPD", DeviceID=2, Size=13, ITT_addr=0x8000, V=1)
    run("MAPI", DeviceID=2, EventID=8200, ICID=1)
    run("INT", DeviceID=2, EventID=8200)
    assert oracle.pending(1) == {8200}


def test_mapti_over_a_mapped_event_keeps_the_old_pending_bit(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    run("MAPTI", DeviceID=1, EventID=0, pINTID=9000, ICID=1)
    run("INT", DeviceID=1, EventID=0)
    assert (oracle.pending(0), oracle.pending(1)) == ({8192}, {9000})


def test_an_itt_outlives_mapd(oracle: AbstractGic, run: Run) -> None:
    run("MAPD", DeviceID=1, V=0)
    assert oracle.translate(0, 1, 0) is Syndrome.DEVICE_UNMAPPED
    run("MAPD", DeviceID=2, Size=0, ITT_addr=0x1000, V=1)
    assert oracle.translate(0, 2, 1) is Syndrome.FORWARDED
    assert oracle.translate(0, 2, 2) is Syndrome.EVENT_OOR
    assert oracle.pending(0) == {8193}


def test_mapc_does_not_move_pending_state(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    run("MAPC", ICID=0, RDbase=1, V=1)
    run("CLEAR", DeviceID=1, EventID=0)
    assert (oracle.pending(0), oracle.pending(1)) == ({8192}, set())


def test_movi_moves_pending_state(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    run("INT", DeviceID=1, EventID=1)
    run("MOVI", DeviceID=1, EventID=0, ICID=2)
    run("MOVI", DeviceID=1, EventID=2, ICID=2)
    assert (oracle.pending(0), oracle.pending(2)) == ({8193}, {8192})


def test_movall_adds_to_what_the_target_has(oracle: AbstractGic, run: Run) -> None:
    oracle.set_lpi(1, 8200)
    run("INT", DeviceID=1, EventID=0)
    run("MOVALL", RDbase=0, RDbase2=1)
    assert (oracle.pending(0), oracle.pending(1)) == (set(), {8192, 8200})
    run("MOVALL", RDbase=1, RDbase2=1)
    assert oracle.pending(1) == {8192, 8200}


def test_acknowledge_takes_the_lowest_priority_then_the_lowest_intid(oracle: AbstractGic) -> None:
    oracle.set_configuration(8193, 0x13)
    oracle.set_configuration(8192, 0xA2)
    for intid in (8195, 8194, 8193, 8192):
        oracle.set_lpi(0, intid)
    assert [oracle.acknowledge(0) for _ in range(4)] == [8193, 8194, 8195, SPURIOUS]
    oracle.set_configuration(8192, ENABLED)
    assert oracle.acknowledge(0) == 8192


@pytest.mark.parametrize("intid", [1023, 8191, 0x1_0000])
def test_what_is_not_an_lpi_is_dropped(oracle: AbstractGic, intid: int) -> None:
    oracle.set_lpi(0, intid)
    assert oracle.pending(0) == set()


def test_idbits_of_propbaser_bounds_lpis(oracle: AbstractGic) -> None:
    oracle.lpi_bits = 14
    oracle.set_lpi(0, 0x3FFF)
    oracle.set_lpi(0, 0x4000)
    assert oracle.pending(0) == {0x3FFF}


def test_a_disabled_redistributor_keeps_its_table_and_ignores_the_rest(oracle: AbstractGic, run: Run) -> None:
    run("INT", DeviceID=1, EventID=0)
    oracle.enable_lpis(0, False)
    run("INT", DeviceID=1, EventID=1)
    run("CLEAR", DeviceID=1, EventID=0)
    run("MOVI", DeviceID=1, EventID=0, ICID=1)
    run("MOVALL", RDbase=0, RDbase2=1)
    assert (oracle.acknowledge(0), oracle.pending(0), oracle.pending(1)) == (SPURIOUS, {8192}, set())
    oracle.enable_lpis(0)
    assert oracle.acknowledge(0) == 8192


def test_ptz_promises_an_empty_table(oracle: AbstractGic) -> None:
    oracle.set_lpi(0, 8192)
    oracle.enable_lpis(0, True, ptz=True)
    assert oracle.pending(0) == {8192}, "only EnableLPIs 0 to 1 looks at it"
    oracle.enable_lpis(0, False)
    oracle.enable_lpis(0, True, ptz=True)
    assert oracle.pending(0) == set()


@pytest.mark.parametrize(
    ("device_id", "event_id", "syndrome"),
    [
        (64, 0, Syndrome.DEVICE_OOR),
        (2, 0, Syndrome.DEVICE_UNMAPPED),
        (1, 8, Syndrome.EVENT_OOR),
        (1, 7, Syndrome.EVENT_UNMAPPED),
        (1, 6, Syndrome.COLLECTION_UNMAPPED),
        (1, 5, Syndrome.VPE_UNMAPPED),
        (1, 0, Syndrome.FORWARDED),
    ],
)
def test_syndromes(oracle: AbstractGic, run: Run, device_id: int, event_id: int, syndrome: Syndrome) -> None:
    run("MAPTI", DeviceID=1, EventID=6, pINTID=8198, ICID=9)
    run("VMAPTI", DeviceID=1, EventID=5, vINTID=8192, vPEID=0, Doorbell=1023)
    assert oracle.translate(0, device_id, event_id) is syndrome


def test_a_disabled_its_ignores_devices(oracle: AbstractGic) -> None:
    oracle.its[0].enabled = False
    assert oracle.translate(0, 1, 0) is Syndrome.UNKNOWN
    assert oracle.pending(0) == set()


@pytest.mark.parametrize("missing", ["devices", "collections", "vpes"])
def test_translation_needs_every_table(oracle: AbstractGic, missing: str) -> None:
    tables = {"devices": 64, "collections": 16, "vpes": 8, missing: 0}
    assert oracle.tables_valid
    assert not AbstractGic(oracle.config, **tables).tables_valid
