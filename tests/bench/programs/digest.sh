#!/bin/sh
# SPDX-License-Identifier: MIT
# base 500: KiB through SHA-256, SHA-512, MD5, AES-CTR and ChaCha20 of OpenSSL
set -e
yes 'the same line again and again' | head -c "$(($1 * 1024))" >digest.in
openssl dgst -sha256 <digest.in
openssl dgst -sha512 <digest.in
openssl dgst -md5 <digest.in
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
openssl enc -aes-256-ctr -K $key -iv 0f0e0d0c0b0a09080706050403020100 -in digest.in | cksum
openssl enc -chacha20 -K $key -iv 0f0e0d0c0b0a09080706050403020100 -in digest.in | cksum
