# SPDX-License-Identifier: MIT
"""What ordinary scripts do, in rounds; prints a sum."""
import json
import re
import sys


class Record:
    def __init__(self, name, value):
        self.name, self.value, self.next = name, value, None

    def step(self, by):
        self.value = (self.value * 31 + by) % 1000003
        return self.value


def sort_words(words):
    return sorted(words, key=lambda w: (len(w), w))


def sieve(n):
    flags = bytearray([1]) * n
    for i in range(2, int(n ** 0.5) + 1):
        if flags[i]:
            flags[i * i::i] = bytes(len(range(i * i, n, i)))
    return sum(flags) - 2


def one_round(i, records):
    total = 0
    for r in records:
        total += r.step(i)
    counts = {}
    text = " ".join(f"w{(i * k) % 37}" for k in range(60))
    for w in re.findall(r"\w+", text):
        counts[w] = counts.get(w, 0) + 1
    total += len(sort_words(counts)) + sieve(500 + i % 100)
    total += len(json.dumps({"a": list(counts.values()), "b": text[:20]}))
    a, b = 0, 1
    while a < 10 ** 20:
        a, b = b, a + b
    return total + a % 97 + int(3.5 * i / 7.25)


def main():
    records = [Record(f"r{k}", k) for k in range(40)]
    total = 0
    for i in range(int(sys.argv[1])):
        total = (total * 17 + one_round(i, records)) % 2 ** 61
    print(total)


main()
