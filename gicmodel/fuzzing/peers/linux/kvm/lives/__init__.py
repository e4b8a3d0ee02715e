# SPDX-License-Identifier: Apache-2.0
"""The lives that a virtual machine may have, one a file.

Numbers are few, so that commands meet each other's mappings; now and then one is wild.
"""
