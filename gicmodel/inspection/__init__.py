# SPDX-License-Identifier: Apache-2.0
"""Reads a dump of RAM, finds the tables of a GIC in it, decodes, checks and compares them.

It needs the ground only: no numba, and nothing of the model that writes such tables.
"""

from gicmodel.images.dump import ABSENT, Dump
from gicmodel.inspection.inspection import Inspection, inspect
from gicmodel.inspection.profiles import PROFILES, Profile
from gicmodel.inspection.report import Report
from gicmodel.inspection.source import Source, open_source

__all__ = ["ABSENT", "PROFILES", "Dump", "Inspection", "Profile", "Report", "Source", "inspect", "open_source"]
