# SPDX-License-Identifier: Apache-2.0
"""Kernels that Debian builds, with their debug information: vmlinuz-RELEASE and vmlinux-RELEASE, side by side.

GICMODEL_KERNELS names the directory; `.ci/run` fills one from linux-image-*-cloud-arm64 and its -dbg package.
"""

import os
from pathlib import Path

import pytest

from tests.conftest import missing, needed

KERNELS = Path(os.environ.get("GICMODEL_KERNELS", "/usr/lib/debug/boot"))
RELEASES = {"v3run": "6.1.0-50-cloud-arm64", "v612run": "6.12.117+deb13-cloud-arm64"}


def vmlinux(name):
    """The debug information of a captured dump's kernel, or no test: Debian does not keep old builds."""
    path = KERNELS / f"vmlinux-{RELEASES.get(name, RELEASES['v3run'])}"
    if not path.is_file():
        pytest.skip(f"{path} is not installed")
    needed("drgn")
    return path


def bootable():
    """A kernel that can be booted and has its debug information: (vmlinuz, vmlinux)."""
    for kernel in sorted(KERNELS.glob("vmlinuz-*")):
        described = kernel.with_name(kernel.name.replace("vmlinuz", "vmlinux"))
        if described.is_file():
            return kernel, described
    missing(f"{KERNELS} has no vmlinuz-* with its vmlinux-* (GICMODEL_KERNELS)")
