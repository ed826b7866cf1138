#!/bin/sh
# SPDX-License-Identifier: MIT
# base 5: functions of C compiled by GCC with -O2 to assembly
set -e
sh /bench/programs/c-source.sh "$1" >cc1.c
/usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -O2 cc1.c -o cc1.s
cksum <cc1.s
