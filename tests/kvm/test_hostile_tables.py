# SPDX-License-Identifier: Apache-2.0
"""RESTORE_TABLES on RAM that nobody saved: it succeeds or refuses by name, and what it accepts can be saved."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gicmodel.kvm import KvmBehaviour, KvmError
from gicmodel.layouts.kvm_abi import COLLECTION_NOT_MAPPED, KVM_CTE, KVM_DTE, KVM_ITE, KVM_LEVEL1
from tests.kvm.guest import COLLECTIONS, DEVICES, ITTS, LEVEL2, PAGE, RAM_BASE, RAM_END, Guest

anything = st.integers(0, 2**64 - 1)
places = st.sampled_from([ITTS, ITTS + 0x800, RAM_END - 0x100, RAM_END, RAM_BASE, DEVICES, 0])
small = st.integers(0, 5)
ctes = st.builds(
    lambda vcpu, icid: KVM_CTE.pack(V=1, RDBase=vcpu, ICID=icid),
    small | st.just(COLLECTION_NOT_MAPPED),
    small | st.just(9000),
)
dtes = st.builds(
    lambda distance, itt, size: KVM_DTE.pack(V=1, next=distance, ITT_addr=itt, Size=size),
    small | st.just(0x3FFF),
    places,
    st.sampled_from([0, 2, 4, 15, 16, 31]),
)
ites = st.builds(
    lambda distance, intid, icid: KVM_ITE.pack(next=distance, pINTID=intid, ICID=icid),
    small,
    st.sampled_from([0, 1, 8191, 8192, 8193, 0x1_0000, 0xFFFF_FFFF]),
    small,
)
level1s = st.builds(
    lambda page: KVM_LEVEL1.pack(V=1, Physical_Address=page), st.sampled_from([LEVEL2, LEVEL2 + PAGE, RAM_END])
)
images = st.fixed_dictionaries(
    {
        "indirect": st.booleans(),
        "collections": st.lists(ctes | anything | st.just(0), max_size=4),
        "level1": st.lists(level1s | anything | st.just(0), max_size=3),
        "devices": st.lists(dtes | anything | st.just(0), max_size=4),
        "events": st.lists(ites | anything | st.just(0), max_size=6),
        "beyond_ram": st.booleans(),
    }
)


def guest_of(image, behaviour):
    """A guest whose tables are the image, after RESET."""
    guest = Guest(indirect=image["indirect"], behaviour=behaviour)
    if image["beyond_ram"]:
        guest.collection_baser += RAM_END - PAGE - COLLECTIONS + 1
    table = LEVEL2 if image["indirect"] else DEVICES
    collections = RAM_END - PAGE if image["beyond_ram"] else COLLECTIONS
    bases = {"collections": collections, "devices": table, "events": ITTS}
    if image["indirect"]:
        bases["level1"] = DEVICES
    for name, base in bases.items():
        for index, word in enumerate(image[name]):
            guest.memory.write_u64(base + 8 * index, word)
    guest.restart_its()
    return guest


def refusal(operation):
    """The error with which KVM refuses; None if it does not."""
    try:
        operation()
    except KvmError as error:
        return error
    return None


@settings(max_examples=150)
@given(images)
def test_what_is_restored_can_be_saved(image):
    guest = guest_of(image, KvmBehaviour())
    refused = refusal(guest.its.restore_tables)
    if refused is None:
        assert len(guest.vgic.lpis) <= len(guest.mappings()[0])
        guest.its.save_tables()
    else:
        assert "\n" not in str(refused)
        assert guest.mappings() == ({}, {})
        assert not guest.its.devices
        assert not len(guest.vgic.lpis)


@given(images, st.sampled_from(["4.12", "5.13", "5.19", "6.1", "6.16"]))
def test_older_kernels_refuse_by_name_too(image, release):
    guest = guest_of(image, KvmBehaviour.release(release))
    refused = refusal(guest.its.restore_tables) or refusal(guest.its.save_tables)
    assert refused is None or refused.errno in {"EINVAL", "EEXIST", "EFAULT"}
