# SPDX-License-Identifier: Apache-2.0
"""The architecture as people read it: what ITSs and redistributors mean, in dicts and sets, with no bits and no RAM.

`physical` and `virtual` have the commands, each a function of its own: VMAPP is `virtual.vmapp`. `interrupts` has what
is pending, resident and delivered, `gic` the devices and the queues that all this is done for. `distributor` has SGIs,
PPIs and SPIs, `cpu_interface` the PE's ICC_* registers, `virtual_interface` the guest's ICV_* and the hypervisor's
ICH_*; `priorities` is what these two have in common.

It is written from the architecture's rules, not from the kernels, so that an error in one is not an error in both. It
describes hardware with `caching="none"`: each use of a configuration byte sees the byte that was last written. Where no
public source settles a rule, a line beginning with "Open:" says so at the place; the hardware must agree with each.
"""

from gicmodel.spec.gic import AbstractGic
from gicmodel.spec.state import NO_DOORBELL, SPURIOUS, Reason, Syndrome

__all__ = ["NO_DOORBELL", "SPURIOUS", "AbstractGic", "Reason", "Syndrome"]
