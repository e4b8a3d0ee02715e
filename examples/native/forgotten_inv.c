/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of its.c, which writes configuration bytes and forgets INV. */
#define FORGET_INV
#include "its.c"
