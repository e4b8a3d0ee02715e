# SPDX-License-Identifier: Apache-2.0
"""What the bytes mean: every table entry, command and register, declared once."""

from gicmodel.layouts.layout import Field, Layout

__all__ = ["Field", "Layout"]
