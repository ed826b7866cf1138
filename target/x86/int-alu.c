/* SPDX-License-Identifier: MIT
 * target/x86/int-alu.c - arithmetic and logic: the handlers of int-alu.h at all four sizes.
 * Models: SDM vol. 2, per instruction.
 * Does not model: atomicity of locked accesses that cross a page.
 * Threads: the vCPU's thread.
 */
#include "int.h"

#define BITS 8
#include "int-alu.h"
#define BITS 16
#include "int-alu.h"
#define BITS 32
#include "int-alu.h"
#define BITS 64
#include "int-alu.h"
