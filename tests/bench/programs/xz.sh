#!/bin/sh
# SPDX-License-Identifier: MIT
# base 24: KiB of text, packed and unpacked
set -e
head -c "$(($1 * 1024))" /bench/text >xz.in
xz -T1 -6 -c xz.in >xz.out
xz -dc xz.out | cmp - xz.in
cksum <xz.out
