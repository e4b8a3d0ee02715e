# SPDX-License-Identifier: Apache-2.0
"""QEMU's GIC as a peer: the process, the twins that both are given, and where the two are known to differ."""
