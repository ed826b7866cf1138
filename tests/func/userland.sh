# SPDX-License-Identifier: MIT
# Runs in a folder of unpacked Debian packages, on the host (chroot) and in the guest: what it prints
# must be the same. Nothing here depends on time, host name or the number of CPUs.
set -e
export HOME=/tmp LC_ALL=C PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
# The C library picks FMA and AVX variants where the CPU has them; their last digits differ.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX,-AVX512F
work=$(mktemp -d)
cd "$work"
seq 1 60000 >data

echo "== openssl"
for d in md5 sha1 sha256 sha512 sha3-256 blake2b512 sm3 ripemd160; do
    openssl dgst -$d data || echo "$d: not offered"
done
for c in aes-128-cbc aes-256-ctr aes-256-cbc chacha20 camellia-256-cbc aria-128-ctr; do
    openssl enc -$c -K 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f \
        -iv 0f0e0d0c0b0a09080706050403020100 -in data 2>/dev/null | openssl dgst -sha256
done
openssl prime 170141183460469231731687303715884105727

echo "== xz and zstd"
xz -k -T1 -6 data
xz -dc data.xz | cmp - data
openssl dgst -sha256 data.xz
zstd -q -12 --single-thread data -o data.zst
zstd -dcq data.zst | cmp - data
openssl dgst -sha256 data.zst
gzip -k -n data
gzip -dc data.gz | cmp - data
wc -c <data.gz

echo "== python3"
cat >t.py <<'PY'
import math, decimal, fractions, hashlib, json, zlib, struct, re, random
random.seed(7)
acc = hashlib.sha256()
for i in range(1, 1200):
    x = random.uniform(-50, 50)
    vals = [math.sqrt(abs(x)), math.sin(x), math.cos(x), math.exp(x / 10), math.atan2(x, i), math.hypot(x, i),
            math.fmod(x, 1.37), x / i, x * 1e300, math.floor(x), math.gamma(abs(x) / 10 + 0.5), math.ldexp(x, -1074)]
    acc.update(struct.pack("<%dd" % len(vals), *map(float, vals)))
    if i % 300 == 0:
        print([repr(v) for v in vals])
print(acc.hexdigest())
print(hashlib.sha256(str(math.factorial(1500)).encode()).hexdigest())
print(pow(3, 10**80 + 7, 2**521 - 1) % 10**40, math.isqrt(7 * 10**120))
decimal.getcontext().prec = 60
print(decimal.Decimal(2).sqrt(), fractions.Fraction(355, 113) ** 9)
print(zlib.crc32(open("data", "rb").read()), len(json.dumps(list(range(1000)))))
print(sum(int(m) for m in re.findall(r"\d+7\b", open("data").read())))
print([round(1e23 * i, 3) for i in (0.1, 0.7, 3)], float("1e-320"), 0.1 + 0.2, 5e-324 / 2, -7 // 2, -7 % 3)
print(sorted(str(i * 7919 % 1009) for i in range(300))[:20])
PY
python3 t.py

echo "== perl"
perl -e 'my %h; $h{($_ * 7919) % 1009} += sqrt($_) for 1 .. 20000; my $s = 0; $s += $h{$_} * $_ for sort { $a <=> $b } keys %h;
    printf "%.17g %s %e\n", $s, join(",", map { sprintf "%x", $_ * 2654435761 % 4294967296 } 1 .. 8), atan2(1, 1) * 4;
    my $t = join " ", 1 .. 2000; my $n = () = $t =~ /\b(\d)\d*\1\b/g; print "$n ", unpack("%32C*", $t), "\n";'

echo "== sqlite3"
{
    echo "create table t(id integer primary key, k text, v real); create index i on t(k); begin;"
    seq 1 10000 | while read -r i; do echo "insert into t values($i, 'k' || ($i * 7919 % 1009), $i / 7.0);"; done
    echo "commit; select count(*), sum(v), avg(length(k)), min(k), max(k) from t;"
    echo "select k, count(*), round(sum(v), 6) from t group by k order by 3 desc, 1 limit 5; pragma integrity_check;"
} >t.sql
sqlite3 t.db <t.sql

echo "== tcc"
cat >t.c <<'C'
#include <stdio.h>
#include <math.h>
static unsigned long long fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
int main(void)
{
    long double x = 1;
    for (int i = 1; i < 40; i++)
        x = x / 3 + sqrtl(x) * i;
    double d = 0;
    for (int i = 1; i < 5000; i++)
        d += (i & 1 ? 1.0 : -1.0) / i;
    float f = 16777216.0f;
    f += 1.0f;
    printf("%llu %.18Lg %.17g %.9g %d\n", fib(20), x, d, f, (int)-2.7);
    return 0;
}
C
tcc -o t t.c -lm && ./t
cd / && rm -rf "$work"
echo "== end"
