#!/bin/sh
# SPDX-License-Identifier: MIT
# base 300: rounds of dictionaries, lists, strings, calls and arithmetic
exec python3 /bench/programs/python.py "$1"
