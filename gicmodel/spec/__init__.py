# SPDX-License-Identifier: Apache-2.0
"""The oracle: what an ITS and its redistributors mean, in dicts and sets, with no bits, no RAM and no caches.

It is written from the architecture's rules, not from the kernels, so that an error in one is not an error in both. It
describes hardware with `caching="none"`: each use of a configuration byte sees the byte that was last written.

Where no public source settles a rule the oracle follows these notes; the hardware must agree with each.

`LOOKUP`    DeviceID range, DTE valid, EventID range, ITE valid; then, for INT, CLEAR and INV, the target: an unmapped
            collection or vPE, or a vINTID beyond the VPT, is ITE_INVALID. DISCARD needs no mapped target, unless the
            configuration says that it refuses.
`MOVI`      LOOKUP; a virtual ITE is ITE_INVALID; then old collection mapped, new ICID range, new collection mapped.
`MAPD`      Size is checked only with V=1, so that an unmap cannot fail on it. An ITT is memory: what it maps outlives
            MAPD, and comes back with it.
`MAPC`      ICID range, then with V=1 RDbase. Unmapping what is not mapped succeeds (MAPD and VMAPP alike).
`MAPTI`     DeviceID range, ICID range, DTE valid, EventID range, pINTID range (QEMU's order). A valid ITE is replaced;
            the old interrupt's pending state stays where it is.
`VMAPTI`    DeviceID range, DTE valid, EventID range, vINTID range, doorbell, vPEID range (QEMU's order). The vPE need
            not be mapped, so the size of its VPT counts only when the event is used.
`VMOVI`     LOOKUP; ITE virtual; old vPE mapped and vINTID in its VPT (ITEVCPU_INVALID); new vPEID range, mapped, vINTID
            in its VPT; doorbell if D=1. Pending state that arrives at another VPT rings doorbells as an interrupt does.
`VMAPP`     with V=1: VPT_size, RDbase; vPEID range; default doorbell; GICv4.1: not yet mapped on this ITS, and V=0 of
            a resident vPE is an error, whichever ITSs have it mapped.
`REBIND`    GICv4.0 (as QEMU): VMAPP V=1 of a vPEID that this ITS has mapped replaces the old binding, V=0 of a
            resident vPE unmaps it, and a VPT may have fewer than 14 vINTID bits.
`ALLOC`     GICv4.1: Alloc=1 makes (V=1) or ends (V=0) the vPE, whichever ITS is told; Alloc=0 adds or removes one ITS,
            and the vPE keeps the parameters of the Alloc=1 command. Making it twice, and ending it while another ITS
            maps it, is VCPU_MAPPED; adding to none VCPU_INVALID. After the last Alloc=0 unmap the vPE still exists.
`PTZ`       counts only with Alloc=1; the VPT then starts with nothing pending and every vSGI disabled.
`VMOVP`     RDbase, vPEID range, mapped, default doorbell if DB=1. A pending doorbell does not move; an armed one stays
            armed. Moving a resident vPE leaves it resident where it is (GICv4.1).
`SCHEDULE`  GICv4.1: a vPEID that is out of range, unmapped, mapped to another CommonLPIAff group, or resident elsewhere
            makes Valid read as 0.
`DOORBELL`  An armed default doorbell rings, once, when an interrupt that is enabled (its byte or VSGI configuration,
            and its group at the last residency) becomes pending, or when an invalidation or VSGI finds one pending. It
            counts as rung even where it is discarded: INTID 1023, or EnableLPIs=0.
`GROUP`     vLPIs are virtual Group 1. GICv4.0 has no group enables. One acknowledge stands for ICV_IAR0 and
            ICV_IAR1: it takes from both groups, as far as they are enabled.
`TIE`       Of equal priorities the lowest INTID is first.
`DISABLED`  With EnableLPIs=0 a redistributor ignores LPIs that arrive, are cleared, or move in or out; its pending
            table keeps what it has. With GICR_CTLR.CES=0 EnableLPIs stays 1.
`VSYNC`     requires a mapped vPEID in GICv4.1. In GICv4.0 only one in range: there it is what completes VMAPP V=0.
`VSGI`      A vSGI's configuration and pending state belong to its VPT and survive unmapping.
`UNKNOWN`   A command that this architecture does not have is an error with reason 0xFD.

Each error number is 0x01, the opcode (5 for CLEAR), and a `Reason`.
"""

from gicmodel.spec.commands import Oracle
from gicmodel.spec.state import NO_DOORBELL, SPURIOUS, Reason, Syndrome

__all__ = ["NO_DOORBELL", "SPURIOUS", "Oracle", "Reason", "Syndrome"]
