# SPDX-License-Identifier: Apache-2.0
"""Bare hardware booted for an experiment, and what the bytes in its RAM say."""
