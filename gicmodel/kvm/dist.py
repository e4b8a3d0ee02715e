# SPDX-License-Identifier: Apache-2.0
"""What all vCPUs and virtual ITSs of a VM share (Linux `struct vgic_dist`)."""

from collections.abc import Hashable

from gicmodel.driver import GicDriver
from gicmodel.kvm.behaviour import KvmBehaviour
from gicmodel.kvm.errors import HostOops, KvmError
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS, Lpis
from gicmodel.kvm.save_plan import SavePlan
from gicmodel.kvm.sgi import Sgis
from gicmodel.kvm.translation_cache import SharedCache, TranslationCache
from gicmodel.kvm.vlpi import Vlpis
from gicmodel.layouts.registers.redistributor import GICR_PENDBASER, GICR_PROPBASER
from gicmodel.memory import GuestMemory


class VgicDist:
    """The VM's LPIs, and where its redistributors' registers say that the guest keeps their tables.

    KVM has one GICR_PROPBASER for all vCPUs. `running` holds the vCPUs that are in KVM_RUN: what needs all vCPUs
    stopped is refused while it is not empty. `driver` is the host's, if its GIC has vLPIs; `vsgi_cpu_interface` says
    whether its CPU interfaces have vSGIs (ID_AA64PFR0_EL1.GIC).
    """

    def __init__(
        self,
        memory: GuestMemory,
        nr_vcpus: int,
        driver: GicDriver | None,
        behaviour: KvmBehaviour,
        vsgi_cpu_interface: bool = True,
    ) -> None:
        self.memory = memory
        self.nr_vcpus = nr_vcpus
        self.behaviour = behaviour
        self.lpis = Lpis(by_intid=behaviour.walks_every_lpi)
        self._translation_caches: list[TranslationCache] = []
        self._shared_translations: dict[Hashable, int] = {}
        self.initialised = False
        self._driver = driver if driver is not None and driver.gic.is_v4 else None
        self._vsgi_cpu_interface = vsgi_cpu_interface
        self._vlpis: Vlpis | None = None
        self.sgis = Sgis(nr_vcpus)
        self.enabled = True
        """GICD_CTLR.EnableGrp1. KVM starts with 0; guests of this model may do without a distributor."""
        self.nassgireq = False
        self.nassgicap = True
        self.implementation_revision = 3
        self._has_run = False
        self.running: set[int] = set()
        self.lpis_enabled = [False] * nr_vcpus
        self._pendbasers = [0] * nr_vcpus
        self.pending_tables = [0] * nr_vcpus
        """Where the guest keeps the LPI pending table of each vCPU."""
        self.save_plan: SavePlan | None = None
        """How the last save has written them."""
        self.propbaser = 0

    def initialise(self) -> None:
        """Map a vPE for each vCPU (Linux `vgic_init`); nothing the second time. KvmError as the host driver.

        A VM has none if userspace has cleared nASSGIcap that the host could have set (`vgic_supports_direct_msis`).
        """
        wanted = self.supports_direct_sgis == self.host_has_vsgis
        if self._driver is not None and wanted and not self.initialised:
            self._vlpis = Vlpis(self._driver, self.nr_vcpus, self.lpis, ptz=not self.behaviour.drops_ptz)
            self.sgis.vlpis = self._vlpis
        self.initialised = True

    def new_translation_cache(self) -> TranslationCache:
        """That of one more virtual ITS."""
        if self.behaviour.caches_per_its:
            cache = TranslationCache(self.lpis)
        else:
            cache = SharedCache(self.lpis, self.nr_vcpus, self._shared_translations)
        self._translation_caches.append(cache)
        return cache

    def invalidate_translation_caches(self) -> None:
        """Those of all virtual ITSs (Linux `vgic_its_invalidate_all_caches`)."""
        for cache in self._translation_caches:
            cache.invalidate()

    def map_resources(self) -> None:
        """Before the first vCPU runs: restored SGIs go to the GIC (Linux `kvm_vgic_map_resources`).

        HostOops if they cannot and the release of Linux does not ask.
        """
        if self._has_run:
            return
        if self.nassgireq and not self.host_has_vsgis:
            raise HostOops("vgic_v4_configure_vsgis activates vSGIs that the host's CPU interfaces do not have")
        if self.supports_direct_sgis:
            self.sgis.configure(self.nassgireq)
        self._has_run = True

    def reload_gicv4(self) -> None:
        """Make the vPEs of running vCPUs resident anew, for GICD_CTLR.EnableGrp1 to reach them (Linux d9c3872cd2f8)."""
        for vcpu in self.running if self.has_gicv4_1 else ():
            cpu = self.vlpis.vpe(vcpu).resident_cpu
            if cpu is not None:
                self.vlpis.put(vcpu, doorbell=False)
                self.vlpis.load(vcpu, cpu, self.enabled)

    def require_initialised(self, errno: str) -> None:
        """KvmError `errno` before `initialise`."""
        if not self.initialised:
            raise KvmError(errno, "the virtual GIC is not initialised")

    @property
    def has_gicv4(self) -> bool:
        """Whether the host's GIC can inject vLPIs."""
        return self._vlpis is not None

    @property
    def has_gicv4_1(self) -> bool:
        """Whether the pending state of vLPIs can be read."""
        return self._vlpis is not None and self._vlpis.driver.gic.is_v41

    @property
    def host_has_vsgis(self) -> bool:
        """Whether the host's GIC can inject SGIs (Linux `system_supports_direct_sgis`)."""
        return self._driver is not None and self._driver.gic.is_v41 and self._vsgi_cpu_interface

    @property
    def supports_direct_sgis(self) -> bool:
        """GICD_TYPER2.nASSGIcap: whether the guest may have its SGIs injected by the GIC."""
        return self.host_has_vsgis and self.nassgicap

    @property
    def vlpis(self) -> Vlpis:
        """The vPEs and forwarded LPIs. KvmError ENODEV without GICv4."""
        if self._vlpis is None:
            raise KvmError("ENODEV", "the host's GIC cannot inject vLPIs")
        return self._vlpis

    @property
    def propbaser(self) -> int:
        """GICR_PROPBASER."""
        return self._propbaser

    @propbaser.setter
    def propbaser(self, value: int) -> None:
        self._propbaser = value
        fields = GICR_PROPBASER.unpack(value)
        self.configuration_table = fields["Physical_Address"]
        """Where the guest keeps the LPI configuration table; its first byte is that of INTID 8192."""
        self.lpi_limit = 1 << min(fields["IDbits"] + 1, INTERRUPT_ID_BITS_ITS)
        """The first INTID that GICR_PROPBASER.IDbits, or KVM, has no room for."""

    def pendbaser(self, vcpu: int) -> int:
        """GICR_PENDBASER of a vCPU."""
        return self._pendbasers[vcpu]

    def set_pendbaser(self, vcpu: int, value: int) -> None:
        """Write GICR_PENDBASER of a vCPU."""
        self._pendbasers[vcpu] = value
        self.pending_tables[vcpu] = GICR_PENDBASER.unpack(value)["Physical_Address"]

    def lock_all_vcpus(self) -> None:
        """KvmError EBUSY while a vCPU runs (Linux `kvm_trylock_all_vcpus`)."""
        if self.running:
            raise KvmError("EBUSY", f"vCPUs {sorted(self.running)} are running")
