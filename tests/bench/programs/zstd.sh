#!/bin/sh
# SPDX-License-Identifier: MIT
# base 100: KiB of text, packed and unpacked
set -e
head -c "$(($1 * 1024))" /bench/text >zstd.in
zstd -q -9 --single-thread -c zstd.in >zstd.out
zstd -dcq zstd.out | cmp - zstd.in
cksum <zstd.out
