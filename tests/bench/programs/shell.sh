#!/bin/sh
# SPDX-License-Identifier: MIT
# base 1500: steps of a shell loop, one in a hundred starting a program
set -e
i=0 s=0
while [ "$i" -lt "$1" ]; do
    i=$((i + 1))
    case $((i % 100)) in
    0) /bin/true ;;
    *7) s=$(((s * 3 + i) % 1000003)) ;;
    *) s=$((s + ${#i})) ;;
    esac
done
echo "$s"
