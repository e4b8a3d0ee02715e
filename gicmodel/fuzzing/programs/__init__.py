# SPDX-License-Identifier: Apache-2.0
"""Fuzz programs: what they are, their text, and what draws them."""
