#!/bin/sh
# SPDX-License-Identifier: MIT
# base 150: rounds of hashes, arrays, regular expressions and arithmetic
exec perl -e 'my ($n, $sum, %h) = (shift, 0);
for my $i (1 .. $n) {
    $h{($_ * $i) % 1009} += $_ & 15 for 1 .. 100;
    my $t = join " ", map { "w" . ($_ * $i % 37) } 1 .. 60;
    my %c;
    $c{$1}++ while $t =~ /(\w+)/g;
    $sum = ($sum * 31 + scalar(keys %c) + length($t)) % 1000003;
    $t =~ s/(\d+)/<$1>/g;
    $sum += unpack("%32C*", $t) + (sort { $a <=> $b } map { $_ * 7919 % 1009 } 1 .. 60)[30];
}
my $s = 0;
$s += $_ * $h{$_} for sort { $a <=> $b } keys %h;
print "$sum $s\n";' "$1"
