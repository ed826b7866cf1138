#!/bin/sh
# SPDX-License-Identifier: MIT
# base 8: primality tests of a 607-bit prime by OpenSSL: modular powers as in RSA
set -e
hex=7$(printf 'f%.0s' $(seq 151))
args=
for _ in $(seq "$1"); do
    args="$args $hex"
done
openssl prime -checks 4 -hex $args
