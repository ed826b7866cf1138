#!/bin/sh
# SPDX-License-Identifier: MIT
# base 120: KiB of text, packed and unpacked
set -e
head -c "$(($1 * 1024))" /bench/text >gzip.in
gzip -nc gzip.in >gzip.out
gzip -dc gzip.out | cmp - gzip.in
cksum <gzip.out
