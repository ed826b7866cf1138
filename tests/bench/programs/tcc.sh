#!/bin/sh
# SPDX-License-Identifier: MIT
# base 500: functions of C compiled to an object
set -e
sh /bench/programs/c-source.sh "$1" >tcc.c
tcc -c tcc.c -o tcc.o
cksum <tcc.o
