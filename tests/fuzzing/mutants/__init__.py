# SPDX-License-Identifier: Apache-2.0
"""Bugs that ITS implementations and their drivers have had, to be planted in the hardware and found by a campaign."""

from tests.fuzzing.mutants import delivery, interrupts, physical, tables, virtual
from tests.fuzzing.mutants.planting import MUTANTS

__all__ = ["MUTANTS", "delivery", "interrupts", "physical", "tables", "virtual"]
