# SPDX-License-Identifier: Apache-2.0
"""Floor two: what a host kernel's driver does. It owns the physical tables, writes the commands and rings CWRITER."""

from gicmodel.driver.allocator import PageAllocator
from gicmodel.driver.driver import GicDriver
from gicmodel.driver.errors import DriverError
from gicmodel.driver.objects import ItsDevice, ItsVm, ItsVpe

__all__ = ["DriverError", "GicDriver", "ItsDevice", "ItsVm", "ItsVpe", "PageAllocator"]
