# SPDX-License-Identifier: Apache-2.0
"""The error with which KVM refuses a request, and what is worse."""

from gicmodel.errors import LinuxError


class KvmError(LinuxError):
    """A request that Linux' vgic refuses."""


class HostOops(Exception):
    """The host kernel does not survive it: it dereferences a null pointer. `KvmBehaviour` says which have the fix."""


class HostStorm(HostOops):
    """The host kernel does nothing else any more: it raises an interrupt whose handler raises it again, for ever."""
