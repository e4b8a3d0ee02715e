# SPDX-License-Identifier: Apache-2.0
"""The lives that a virtual machine may have, one a file."""
