# SPDX-License-Identifier: Apache-2.0
"""What the bytes mean: every table entry, command and register, declared once."""
