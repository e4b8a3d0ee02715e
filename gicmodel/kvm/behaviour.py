# SPDX-License-Identifier: Apache-2.0
"""What Linux releases do differently when they save, restore and forward."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

Version = tuple[int, ...]

FIRST_RELEASE: Version = (4, 12)
"""The first Linux with ITS table ABI revision 0."""

STABLE_SERIES: tuple[Version, ...] = ((6, 1), (6, 12), (7, 2))
"""Those whose backports are known: all that the changelogs of Debian's 6.1.192, 6.12.117 and 7.2.13 name, compared with
the sources of these three."""


def _version(release: str) -> Version:
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?", release, re.ASCII)
    if match is None:
        raise ValueError(f"{release!r} is not a Linux release such as '5.13' or '6.1.176'")
    return tuple(int(number) for number in match.groups() if number is not None)


def _since(release: str, *backports: str, until: str = "0.0") -> bool:
    """A behaviour that is right from `release` on, in stable series from `backports` on, and was before `until`."""
    versions = {"since": _version(release), "backports": [_version(stable) for stable in backports]}
    right: bool = field(default=True, metadata=versions | {"until": _version(until)})
    return right


def _has(version: Version, switch: Mapping[str, Any]) -> bool:
    backported = any(version[:2] == stable[:2] and version >= stable for stable in switch["backports"])
    return backported or version >= switch["since"] or version < switch["until"]


@dataclass(frozen=True)
class KvmBehaviour:
    """Which fixes a KVM has. A field is False for a kernel without the commit it names; the default is the newest.

    `cached_msis_stay_in_software` is a bug that no release has fixed: False is the repair.

    The change of ef3691683d7b (6.2), how doorbells are requested, has no field: it closes a race that a model without
    concurrency does not have.
    """

    caches_translations: bool = _since("5.4")
    """The series "vgic: ITS translation cache": what KVM_SIGNAL_MSI has translated once it does not look up again."""

    caches_per_its: bool = _since("6.10", until="5.4")
    """Each ITS has a translation cache, without bounds. Before: one for all, of 16 translations a vCPU; the one that
    was used last stays longest, and one that is there is not replaced."""

    cached_msis_stay_in_software: bool = _since("5.4")
    """The same series: KVM_SIGNAL_MSI of an event that was translated sets the latch of its LPI, forwarded or not, and
    set_forwarding itself translates it first. SAVE_PENDING_TABLES then reads the VPT, and the interrupt is lost. False:
    what is forwarded by now goes to the GIC, as without the cache."""

    pending_byte_per_vcpu: bool = _since("5.5")
    """ca185b260951: SAVE_PENDING_TABLES keeps the last byte it read by address. Before, by its offset alone, whichever
    vCPU's table it came from."""

    restores_unmapped_collections: bool = _since("5.6")
    """8c58be34494b: a CTE without a vCPU is restored. Before: EINVAL."""

    discard_needs_mapped_collection: bool = _since("5.6")
    """DISCARD of an event whose collection is not mapped is dropped. Before: only if there is no collection at all."""

    saves_forwarded_lpis: bool = _since("5.13")
    """8082d50f4817: SAVE_TABLES saves forwarded LPIs on GICv4.1. Before: EACCES on every host."""

    moves_pending_state: bool = _since("5.13")
    """f66b7b151e00 and 12df7429213a: SAVE_PENDING_TABLES reads the VPTs, and set_forwarding makes pending in the VPT
    what is pending in software. Before, neither."""

    drops_ptz: bool = _since("5.13")
    """c21bc068cdbe: VMAPP never claims that the VPT is zero. Before: each first mapping of a vPE does."""

    reports_cte_errors: bool = _since("5.19")
    """a1ccfd6f6e06: RESTORE_TABLES fails with the first bad CTE. Before, the collection table simply ended there."""

    checks_restored_ids: bool = _since("5.19")
    """243b1f6c8f07: a restored CTE or DTE must have a place in its table from which it can be saved again."""

    frees_collections_of_failed_restore: bool = _since("5.19")
    """8c5e74c90bb5: a failed RESTORE_TABLES leaves no collection behind, so that it can be repeated."""

    mapti_checks_itt: bool = _since("5.19")
    """cafe7e544d49: MAPTI drops an event whose ITE could not be saved. Before, the next save failed."""

    stops_at_table_end: bool = _since("6.1")
    """c000a2607145: a `next` that leaves its table ends the walk. Before, the walk went on through RAM."""

    ispendr_reaches_vsgis: bool = _since("6.7", "6.1.75")
    """7b95382f9658: a userspace write of GICR_ISPENDR0 changes vSGIs in the GIC. Before, only what software keeps."""

    walks_every_lpi: bool = _since("6.10")
    """The xarray of LPIs: INVALL and EnableLPIs go through all LPIs of the VM, and everything is in order of INTIDs.
    Before: through those of the vCPU, and in the order in which LPIs were created."""

    clears_unmapped_entries: bool = _since("6.13", "6.1.120", "6.12.3")
    """e9649129d33d and 7602ffd1d5e8: MAPD V=0 zeroes the DTE and DISCARD the ITE in guest RAM. Of 6.12.y is known that
    it came with 6.12.3 at the latest."""

    mapc_checks_target_last: bool = _since("6.12")
    """MAPC V=0 unmaps whatever its RDbase is. Before, not if the VM has no such vCPU; 6.1.192 is the newest that is
    known to be so, and 6.12.117 the oldest that is not."""

    leaves_forwarded: bool = _since("6.12")
    """An event whose LPI is forwarded already is left as it is. Before: a second mapping. Known of the same two."""

    forwarding_falls_back: bool = _since("6.15")
    """5c57533eb8c1: an event that leads to no LPI is left as it is. Before: an error."""

    unsets_by_host_irq: bool = _since("6.16")
    """05b9405f2fa1: unset_forwarding finds the LPI by the host interrupt. Before, by translating the guest's event once
    more, and if that failed the vLPI stayed mapped."""

    route_change_unforwards: bool = _since("6.16")
    """4bf3693d36af: a changed MSI route ends the forwarding of its interrupt. Before, the old vLPI went on firing."""

    freed_ite_ends_hw: bool = _since("6.16")
    """fc4dafe87b93: with its event an LPI that is queued ends to be forwarded. Before, only the GIC was told; KVM went
    on to make it pending through its host interrupt: `HostStorm` if that was the host's own again, and if it fed
    another LPI by then, that one was pending."""

    asks_cpu_interface_for_vsgis: bool = _since("6.17", until="5.13")
    """82221a4e66f0: userspace's GICD_CTLR.nASSGIreq is 0 on a GICv4.1 host whose CPU interfaces have no vSGIs. From
    46135d6f878a (5.13) on only the guest's was, and the first run of a vCPU was a `HostOops`."""

    sizes_before_init: bool = _since("6.17")
    """Userspace may read and write GICD_IIDR and GICD_TYPER2 before the GIC is initialised, and clear nASSGIcap.
    Before: EBUSY, and EINVAL for any other GICD_TYPER2 than KVM's."""

    checks_restored_event_bits: bool = _since("7.1", "6.1.175", "6.12.92")
    """9ce754ed8e7a: a DTE of more EventID bits than the ITS has is EINVAL."""

    saves_events_without_collection: bool = _since("7.3", "6.1.191", "6.12.113", "7.2.6")
    """c6c156d931c3: an event whose collection was unmapped is saved as a zero entry. Before: `HostOops`. Of 7.2.y is
    known that it came with 7.2.6 at the latest."""

    next_skips_zero_entries: bool = _since("7.3")
    """The `next` of an ITE leads to the next event that has a collection. In the stable series with the fix above it
    still leads to the zero entry of one that has none."""

    skips_unreachable_devices: bool = _since("7.3", "6.12.112", "7.2.9")
    """cc5d96036e01: a device whose DTE has no place in RAM is not saved. Before: EINVAL, and no migration."""

    baser_change_frees: bool = _since("7.3", "6.12.112", "7.2.9")
    """8cd92f77ae4f: any change of GITS_BASER<n> drops what was mapped in the table. Before: only Valid = 0, and more
    collections than a table holds that has shrunk are written over what follows it, a zero entry last."""

    movall_filters_source: bool = _since("7.3", "6.12.113", "7.2.10", until="6.10")
    """751f4641560b: MOVALL moves the LPIs of one vCPU. From 11f4f8f3e6e0 (6.10) on it moved those of all."""

    @classmethod
    def release(cls, name: str) -> Self:
        """The behaviour of a Linux release, for instance "5.13", or of a stable one, "6.1.176": "6.1" has no backports.

        ValueError if there is none with these tables, and for a stable series whose backports are not known.
        """
        version = _version(name)
        if version < FIRST_RELEASE:
            raise ValueError(f"Linux {name} cannot save an ITS; 4.12 is the first that can")
        if len(version) > 2 and version[:2] not in STABLE_SERIES:
            known = ", ".join(f"{major}.{minor}.y" for major, minor in STABLE_SERIES)
            raise ValueError(f"which fixes Linux {name} has is not known; of stable series, those of {known} are")
        return cls(**{switch.name: _has(version, switch.metadata) for switch in fields(cls)})


NEWEST = KvmBehaviour()
