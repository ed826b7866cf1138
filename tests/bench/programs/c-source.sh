#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints N functions of C, all different.
echo 'typedef unsigned long u; u data[256]; u f0(u a, u b) { return a + b; }'
exec mawk -v n="$1" 'BEGIN {
    for (i = 1; i <= n; i++) {
        printf "struct s%d { int a, b[%d]; u c; };\nu f%d(u a, u b)\n{\n    u t = a * %d, i;\n", i, i % 7 + 1, i, i * 7919
        printf "    struct s%d v = { %d, { 1 }, b };\n    for (i = 0; i < %d; i++)\n", i, i % 13, i % 50 + 3
        printf "        t += data[(i + a) & 255] ^ (t >> %d);\n", i % 31 + 1
        printf "    if (t %% %d == b)\n        return f%d(t, v.c + v.a) - %d;\n", i % 11 + 2, i - 1, i
        printf "    switch (t & 7) {\n    case 1: t ^= b; break;\n    case 3: t -= v.b[0]; break;\n"
        printf "    case 4: data[%d] = t; break;\n    default: t = f%d(a, t);\n    }\n    return t;\n}\n", i % 256, i - 1
    }
}'
