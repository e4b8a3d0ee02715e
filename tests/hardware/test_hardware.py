# SPDX-License-Identifier: Apache-2.0
"""The package's public names."""

import gicmodel.hardware


def test_every_public_name_is_there():
    assert all(getattr(gicmodel.hardware, name) for name in gicmodel.hardware.__all__)
