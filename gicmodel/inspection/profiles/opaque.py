# SPDX-License-Identifier: Apache-2.0
"""Hardware whose entries nobody published: what the architecture fixes still decodes."""

from gicmodel.inspection.profiles.profile import Profile

OPAQUE = Profile("opaque", "unknown entries; level-1 entries, configuration and pending tables are architected")
