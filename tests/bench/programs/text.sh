#!/bin/sh
# SPDX-License-Identifier: MIT
# base 50: KiB of text through sort, uniq, awk, sed and grep
set -e
head -c "$(($1 * 1024))" /bench/text >text.in
tr ' ' '\n' <text.in | sort | uniq -c | sort -k1,1nr -k2 | head -5
mawk '{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) s += n[w] * length(w); print s }' text.in
sed -e 's/[aeiou]\([^aeiou ]\)/\1_/g' text.in | cksum
grep -cE '(ab|ca).*[x-z]{2}' text.in || true
