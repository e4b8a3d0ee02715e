# SPDX-License-Identifier: Apache-2.0
"""A table entry from its fields to its bytes and back, one and many."""

import numpy as np

from gicmodel.layouts.its_tables import DTE, ITE

word = DTE.pack(Valid=1, Size=2, ITT_addr=0x438D_F800)
print("DTE:", hex(word), {name: hex(value) for name, value in DTE.unpack(word).items()})

words = ITE.encode(Valid=1, IntType=1, IntID=np.arange(8192, 8196), ICID=np.arange(4), Doorbell=1023)
print("four ITEs:", [[hex(int(word)) for word in row] for row in words])
print("their INTIDs:", ITE.decode(words)["IntID"].tolist())
