#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""rhea-img: every option of every command of qemu-img 7.2. Each line is run by both programs in a folder of its own with the same
images: exit status and output must be the same, and so must what the images hold afterwards.
Covers: tools/img/*.c (options, exit codes, human output), tools/common/image.c."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

from imgtest import ALL, IMG, QEMU, content, io, need_io, read, run, run_tests, write

# A line is what follows the program's name. What stands behind `#` is judged otherwise than by being the same:
# "words": the output may differ; the status may not (texts that each program words for itself).
LINES = """
create -f qcow2 x.qcow2 1M
create -q -f qcow2 x.qcow2 1M
create x.raw 1M
create -f raw x.raw 1.5M
create x.raw 100
create -f qcow2 x.qcow2 100
create -f qcow2 x.qcow2 0
create -f qcow2
create -f qcow2 x.qcow2
create -f qcow2 x.qcow2 1M 2M
create -f qcow2 -o help # words
create -f qcow2 -o help x # words
create -f qcow2 -o ? x # words
create -f qcow2 -o cluster_size=4k,help x # words
create -f raw -o help # words
create -f bogus -o help
create -f qcow2 -F raw x.qcow2 1M
create -f qcow2 -u -b none -F raw x.qcow2
create -f qcow2 -u -b none -F raw x.qcow2 1M
create -f qcow2 -u -b none x.qcow2 1M
create -f qcow2 -b x.qcow2 -F qcow2 x.qcow2 1M
create -f qcow2 -b base.raw x.qcow2 1M
create -f qcow2 -b base.raw -F bogus x.qcow2
create -f qcow2 -b base.raw -F raw x.qcow2
create -f qcow2 -b base.raw -F raw x.qcow2 8M
create -f qcow2 -b top.qcow2 -F qcow2 x.qcow2
create -f qcow2 -o backing_file=base.raw,backing_fmt=raw x.qcow2
create -f qcow2 -o backing_file=base.raw x.qcow2
create -f qcow2 -o size=3M x.qcow2
create -f qcow2 -o size=3M x.qcow2 2M
create -f raw -b top.qcow2 -F qcow2 x.raw
create x.raw 10foo
create x.raw 1e6
create x.raw -- -5
create x.raw -5
create x.raw 16E
create x.raw -- 1M
create -- x.raw 1M
create -f raw -o preallocation=metadata x.raw 1M
create -f raw -o preallocation=full x.raw 1M
create -f raw -o preallocation=falloc x.raw 1M
create -f raw -o preallocation=bogus x.raw 1M
create -f qcow2 -o compat=2 x.qcow2 1M
create -f qcow2 -o compat=v3 x.qcow2 1M
create -f qcow2 -o compat=v2 x.qcow2 1M
create -f qcow2 -o compat=0.10,lazy_refcounts=on x.qcow2 1M
create -f qcow2 -o compat=0.10,refcount_bits=8 x.qcow2 1M
create -f qcow2 -o compat=0.10,extended_l2=on x.qcow2 1M
create -f qcow2 -o compat=0.10,compression_type=zstd x.qcow2 1M
create -f qcow2 -o compat=0.10,data_file=d x.qcow2 1M
create -f qcow2 -o cluster_size=64k,cluster_size=4k x.qcow2 1M
create -f qcow2 -o cluster_size=64k -o cluster_size=4k x.qcow2 1M
create -f qcow2 -o cluster_size=3k x.qcow2 1M
create -f qcow2 -o cluster_size=4M x.qcow2 1M
create -f qcow2 -o cluster_size=256 x.qcow2 1M
create -f qcow2 -o cluster_size=4k,extended_l2=on x.qcow2 1M
create -f qcow2 -o cluster_size=16k,extended_l2=on x.qcow2 1M
create -f qcow2 -o cluster_size=512 x.qcow2 100T
create -f qcow2 -o refcount_bits=3 x.qcow2 1M
create -f qcow2 -o refcount_bits=128 x.qcow2 1M
create -f qcow2 -o refcount_bits=8 x.qcow2 1M
create -f qcow2 -o preallocation=metadata x.qcow2 1M
create -f qcow2 -o preallocation=metadata,backing_file=base.raw,backing_fmt=raw x.qcow2 1M
create -f qcow2 -o preallocation=metadata,extended_l2=on,backing_file=base.raw,backing_fmt=raw x.qcow2 1M
create -f qcow2 -o data_file_raw=on x.qcow2 1M
create -f qcow2 -o data_file=d.raw,data_file_raw=on x.qcow2 1M
create -f qcow2 -o data_file=d.raw,data_file_raw=on,backing_file=base.raw,backing_fmt=raw x.qcow2 1M
create -f qcow2 -o compression_type=lzo x.qcow2 1M
create -f qcow2 -o frob=1 x.qcow2 1M
create -f qcow2 -o lazy_refcounts=maybe x.qcow2 1M
create -f qcow2 -o lazy_refcounts x.qcow2 1M
create -f qcow2 --image-opts x.qcow2 1M
create -f qcow2 -Z x.qcow2 1M
create -f bogus x 1M
create -f null-co x 1M
create -f qcow2 none/x.qcow2 1M
info
info none
info a b
info --output=foo plain.raw
info --output plain.raw
info -f bogus plain.raw
info plain.raw
info top.qcow2
info -f qcow2 top.qcow2
info --format qcow2 top.qcow2
info -f raw top.qcow2
info -U top.qcow2
info --force-share top.qcow2
info --backing-chain top.qcow2
info --backing-chain --output=json top.qcow2
info --backing-chain --image-opts driver=qcow2,file.filename=top.qcow2
info --image-opts driver=qcow2,file.filename=top.qcow2
info --image-opts -f raw driver=raw
info --image-opts top.qcow2
info bitmaps.qcow2
info --output json bitmaps.qcow2
info snaps.qcow2
info --output=json snaps.qcow2
info data.qcow2
info dirty.qcow2
info --output=json dirty.qcow2
info old.qcow2
info -- top.qcow2
info gone.qcow2
info --backing-chain gone.qcow2
info sub/child.qcow2
info --output=json sub/child.qcow2
info --backing-chain --output=json sub/child.qcow2
map plain.raw
map --output=json plain.raw
map top.qcow2
map --output=json top.qcow2
map --output=json -U top.qcow2
map --force-share --format=qcow2 top.qcow2
map data.qcow2
map --output=json data.qcow2
map packed.qcow2
map --output=json packed.qcow2
map --start-offset=1M top.qcow2
map --start-offset=100M --output=json plain.raw
map --start-offset=100M plain.raw
map --start-offset=foo plain.raw
map --start-offset=1M --output=json top.qcow2
map --max-length=0 --output=json plain.raw
map -s 512 -l 1024 --output=json plain.raw
map --start-offset=513 --max-length=700 --output=json plain.raw
map --start-offset=100k --max-length=2M --output=json top.qcow2
map --start-offset=100k --max-length=2M top.qcow2
map --image-opts driver=qcow2,file.filename=top.qcow2
map none
map
map --output=json odd.raw
map odd.raw
check plain.raw
check -f raw plain.raw
check none
check
check top.qcow2
check --output=json top.qcow2
check --output=json packed.qcow2
check packed.qcow2
check bitmaps.qcow2
check dirty.qcow2 # words
check leaky.qcow2
check --output=json leaky.qcow2
check -r leaks leaky.qcow2
check -r leaks --output=json leaky.qcow2
check -r all leaky.qcow2
check broken.qcow2
check --output=json broken.qcow2
check -r all broken.qcow2
check -r all --output=json broken.qcow2 # words
check -q broken.qcow2
check -q -r all broken.qcow2
check -r foo top.qcow2
check --repair=leaks --format=qcow2 top.qcow2
check -U -r all top.qcow2
check -U top.qcow2
check -q top.qcow2
check -T none top.qcow2
check -T foo top.qcow2
check --image-opts driver=qcow2,file.filename=top.qcow2
compare plain.raw
compare plain.raw top.qcow2
compare -s plain.raw top.qcow2
compare -q plain.raw top.qcow2
compare plain.raw plain.raw
compare plain.raw copy.qcow2
compare -s plain.raw copy.qcow2
compare plain.raw longer.raw
compare -s plain.raw longer.raw
compare -q plain.raw longer.raw
compare -f raw -F qcow2 plain.raw copy.qcow2
compare -f raw -F raw plain.raw copy.qcow2
compare plain.raw none
compare none plain.raw
compare -f foo plain.raw none
compare -x plain.raw none
compare -U plain.raw copy.qcow2
compare --force-share plain.raw copy.qcow2
compare --image-opts driver=raw,file.filename=plain.raw driver=raw,file.filename=plain.raw
compare --image-opts -f raw driver=raw,file.filename=plain.raw driver=raw,file.filename=plain.raw
compare --image-opts -F raw driver=raw,file.filename=plain.raw driver=raw,file.filename=plain.raw
compare -T foo plain.raw plain.raw
compare -T none plain.raw plain.raw
compare -p plain.raw plain.raw # words
compare -p -q plain.raw plain.raw
compare odd.raw odd.raw
convert -n -o compat=1.1 -O qcow2 plain.raw copy.qcow2
convert -n -B base.raw -F raw -O qcow2 plain.raw copy.qcow2
convert -B base.raw -O qcow2 plain.raw x.qcow2
convert -B base.raw -F raw -O qcow2 plain.raw x.qcow2
convert -B base.raw -F raw -O qcow2 top.qcow2 x.qcow2
convert -B mid.qcow2 -F qcow2 -O qcow2 top.qcow2 x.qcow2
convert -B none.raw -F raw -O qcow2 plain.raw x.qcow2
convert -o backing_file=base.raw -O qcow2 plain.raw x.qcow2
convert -o backing_file=base.raw,backing_fmt=raw -O qcow2 plain.raw x.qcow2
convert -o backing_file=base.raw,backing_fmt=raw -B base.raw -F raw -O qcow2 plain.raw x.qcow2
convert -B base.raw -F raw plain.raw x.raw
convert -F raw -O qcow2 plain.raw x.qcow2
convert -W -O qcow2 plain.raw x.qcow2
convert -W -c -O qcow2 plain.raw x.qcow2
convert -C plain.raw x.raw
convert -C -O qcow2 plain.raw x.qcow2
convert -C top.qcow2 x.raw
convert -C -c -O qcow2 plain.raw x.qcow2
convert -C -S 4k -O qcow2 plain.raw x.qcow2
convert -C --salvage -O qcow2 plain.raw x.qcow2
convert --salvage plain.raw x.raw
convert -S 1000 plain.raw x.raw
convert -S 256 plain.raw x.raw
convert -S 4M plain.raw x.raw
convert -S 32M plain.raw x.raw
convert -S 0 plain.raw x.raw
convert -S 0 -O qcow2 plain.raw x.qcow2
convert -S 512 -O qcow2 plain.raw x.qcow2
convert -S 64k -O qcow2 plain.raw x.qcow2
convert -S 0 -c -O qcow2 plain.raw x.qcow2
convert -m 17 plain.raw x.raw
convert -m 0 plain.raw x.raw
convert -m foo plain.raw x.raw
convert -m 16 plain.raw x.raw
convert -r 0 plain.raw x.raw
convert -r foo plain.raw x.raw
convert -r 1G plain.raw x.raw
convert --target-is-zero -O qcow2 plain.raw copy.qcow2
convert --target-is-zero -n -O qcow2 plain.raw blank.qcow2
convert --target-image-opts -O qcow2 plain.raw copy.qcow2
convert --target-image-opts -n -O qcow2 plain.raw driver=qcow2,file.filename=copy.qcow2
convert --target-image-opts -n plain.raw driver=qcow2,file.filename=copy.qcow2
convert --image-opts driver=qcow2,file.filename=top.qcow2 x.raw
convert --image-opts -f qcow2 driver=qcow2,file.filename=top.qcow2 x.raw
convert -l foo plain.raw x.raw
convert -l foo plain.raw plain.raw x.raw
convert -l one snaps.qcow2 x.raw
convert -l 2 snaps.qcow2 x.raw
convert -l snapshot.id=1 snaps.qcow2 x.raw
convert -l snapshot.name=two snaps.qcow2 x.raw
convert -l snapshot.id=1,snapshot.name=one snaps.qcow2 x.raw
convert -l snapshot.id=1,snapshot.name=two snaps.qcow2 x.raw
convert -l snapshot.id=9 snaps.qcow2 x.raw
convert -s foo plain.raw x.raw
convert -c plain.raw x.raw
convert -c -O qcow2 plain.raw x.qcow2
convert -c -O qcow2 odd.raw x.qcow2
convert -O qcow2 odd.raw x.qcow2
convert odd.raw x.raw
convert --bitmaps -O qcow2 plain.raw x.qcow2
convert --bitmaps -O qcow2 bitmaps.qcow2 x.qcow2
convert --bitmaps bitmaps.qcow2 x.raw
convert --bitmaps --skip-broken-bitmaps -O qcow2 bitmaps.qcow2 x.qcow2
convert --skip-broken-bitmaps -O qcow2 bitmaps.qcow2 x.qcow2
convert --bitmaps -O qcow2 stale.qcow2 x.qcow2
convert --bitmaps --skip-broken-bitmaps -O qcow2 stale.qcow2 x.qcow2
convert --bitmaps -O qcow2 bitmaps.qcow2 bitmaps.qcow2 x.qcow2
convert -O foo plain.raw x.qcow2
convert -f foo plain.raw x.qcow2
convert plain.raw
convert
convert -O qcow2 -o help # words
convert -O qcow2 -o cluster_size=4k -o refcount_bits=8 plain.raw x.qcow2
convert -O qcow2 -o frob=4k plain.raw x.qcow2
convert -q -p -O qcow2 plain.raw x.qcow2
convert -p -O qcow2 plain.raw x.qcow2 # words
convert -t foo -O qcow2 plain.raw x.qcow2
convert -T foo -O qcow2 plain.raw x.qcow2
convert -t none -T none -O qcow2 plain.raw x.qcow2
convert -t directsync -O qcow2 plain.raw x.qcow2
convert -t writethrough -T writeback plain.raw x.raw
convert -U top.qcow2 x.raw
convert --force-share top.qcow2 x.raw
convert -n plain.raw none.raw
convert -n plain.raw small.raw
convert -n plain.raw longer.raw
convert -n -O qcow2 plain.raw copy.qcow2
convert plain.raw top.qcow2 x.raw
convert plain.raw odd.raw x.raw
convert odd.raw plain.raw x.raw
convert -O qcow2 odd.raw plain.raw x.qcow2
convert -c -O qcow2 odd.raw plain.raw x.qcow2
convert none x.raw
convert -O qcow2 -o size=8M plain.raw x.qcow2
convert -O qcow2 -o preallocation=metadata plain.raw x.qcow2
convert -O qcow2 -o preallocation=full plain.raw x.qcow2
convert -O raw -o preallocation=full plain.raw x.raw
convert -c -O qcow2 -o preallocation=metadata plain.raw x.qcow2
convert -c -O qcow2 -o data_file=d.raw plain.raw x.qcow2
convert -- plain.raw x.raw
dd if=plain.raw of=x.raw
dd if=plain.raw of=x.raw bs=0
dd if=plain.raw of=x.raw bs=4G
dd if=plain.raw of=x.raw count=0
dd if=plain.raw of=x.raw skip=100000000
dd if=plain.raw
dd of=x.raw
dd
dd if=plain.raw of=x.raw foo=1
dd if=plain.raw of=x.raw foo
dd if=plain.raw of=x.raw count=x
dd -O qcow2 if=plain.raw of=x.qcow2
dd -O bogus if=plain.raw of=x.qcow2
dd -f bogus if=plain.raw of=x.qcow2
dd -U -f qcow2 if=top.qcow2 of=x.raw
dd --force-share -f qcow2 if=top.qcow2 of=x.raw
dd --image-opts if=driver=raw,file.filename=plain.raw of=x.qcow2
dd --image-opts -f raw if=driver=raw,file.filename=plain.raw of=x.qcow2
dd -n if=plain.raw of=x.raw
dd if=none of=x.raw
dd if=odd.raw of=x.raw bs=7 skip=3
measure -O qcow2 bitmaps.qcow2
measure --output=json -O qcow2 bitmaps.qcow2
measure -O qcow2 stale.qcow2
measure -O qcow2 top.qcow2
measure -O qcow2 plain.raw
measure -O qcow2 packed.qcow2
measure -O qcow2 -o cluster_size=512 plain.raw
measure -O qcow2 -o cluster_size=2M,refcount_bits=1 plain.raw
measure -O qcow2 -o extended_l2=on top.qcow2
measure -O qcow2 -o preallocation=metadata plain.raw
measure -O qcow2 -o preallocation=full plain.raw
measure -O qcow2 -o backing_file=base.raw,backing_fmt=raw top.qcow2
measure bitmaps.qcow2
measure --output=json bitmaps.qcow2
measure odd.raw
measure -O qcow2 odd.raw
measure -O qcow2 -o compat=0.10 bitmaps.qcow2
measure -O qcow2 -o cluster_size=4k bitmaps.qcow2
measure --size 1G -O qcow2 -o data_file=x
measure --size 1G -o compat=1.1
measure --size 1G -f qcow2
measure --size 1G -U
measure --size 1G plain.raw
measure --size 1G -l x
measure --size 1G --image-opts
measure -l nosuch snaps.qcow2
measure -l one -O qcow2 snaps.qcow2
measure -l one plain.raw
measure --size foo
measure --size 0
measure --size 1 -O qcow2
measure --size 100T -O qcow2
measure --size 1G -O qcow2 -o preallocation=falloc
measure -U bitmaps.qcow2
measure --force-share bitmaps.qcow2
measure --image-opts driver=qcow2,file.filename=bitmaps.qcow2
measure --image-opts -f qcow2 driver=qcow2,file.filename=bitmaps.qcow2
measure -O bogus --size 1
measure
measure none
resize plain.raw
resize -f raw plain.raw 4M
resize -f raw plain.raw +0
resize -f raw plain.raw -- -5
resize -f raw plain.raw -512
resize -f raw --shrink plain.raw -512
resize -f raw --shrink plain.raw -4G
resize -f raw plain.raw 0
resize -f raw --shrink plain.raw 0
resize -f raw --shrink plain.raw 100
resize -q -f raw plain.raw 5M
resize --preallocation=full -f raw plain.raw 4M
resize --preallocation=falloc -f raw plain.raw 4M
resize --preallocation=metadata -f raw plain.raw 4M
resize --preallocation=bogus -f raw plain.raw 4M
resize --shrink --preallocation=full -f raw plain.raw 1M
resize --preallocation=metadata copy.qcow2 8M
resize --preallocation=full copy.qcow2 8M
resize copy.qcow2 +1M
resize --shrink copy.qcow2 1M
resize -f raw plain.raw 1000
resize --image-opts driver=raw,file.filename=plain.raw 4M
resize --image-opts -f raw driver=raw,file.filename=plain.raw 4M
resize -f raw plain.raw 4M 5M
resize -f raw plain.raw +foo
resize -f raw 4M plain.raw
resize snaps.qcow2 10M
resize stale.qcow2 10M
resize -f raw --shrink plain.raw 1M
resize top.qcow2 8M
resize none 8M
snapshot -c x -d y snaps.qcow2
snapshot snaps.qcow2
snapshot -c x snaps.qcow2
snapshot -c one snaps.qcow2
snapshot -U -c y snaps.qcow2
snapshot -U -l snaps.qcow2
snapshot --force-share -l snaps.qcow2
snapshot -a one snaps.qcow2
snapshot -a 2 snaps.qcow2
snapshot -d 2 snaps.qcow2
snapshot -d 2 names.qcow2
snapshot -a 2 names.qcow2
convert -l 2 names.qcow2 x.raw
convert -l snapshot.name=2 names.qcow2 x.raw
snapshot -d one snaps.qcow2
snapshot -a nosuch snaps.qcow2
snapshot -d nosuch snaps.qcow2
snapshot -l plain.raw
snapshot -c x plain.raw
snapshot -a x plain.raw
snapshot -d x plain.raw
snapshot -q -l snaps.qcow2
snapshot -q -c q snaps.qcow2
snapshot -l
snapshot -l --image-opts driver=qcow2,file.filename=snaps.qcow2
snapshot -c x none
snapshot -c x bitmaps.qcow2
snapshot -c x data.qcow2
snapshot -- snaps.qcow2
rebase -U -u -b "" top.qcow2
rebase -b "" -F raw top.qcow2
rebase -u top.qcow2
rebase -u -F qcow2 -b mid.qcow2 top.qcow2
rebase -u -b mid.qcow2 top.qcow2
rebase -b base.raw -F raw top.qcow2
rebase -b base.raw -F raw -U top.qcow2
rebase -t none -T none -b base.raw -F raw top.qcow2
rebase -t foo -b base.raw -F raw top.qcow2
rebase -T foo -b base.raw -F raw top.qcow2
rebase -p -b base.raw -F raw top.qcow2 # words
rebase -q -b base.raw -F raw top.qcow2
rebase -b base.raw -F bogus top.qcow2
rebase top.qcow2
rebase -b none -F raw top.qcow2
rebase -u -b none -F raw top.qcow2
rebase -b base.raw -F raw plain.raw
rebase -b base.raw -F raw blank.qcow2
rebase -b "" blank.qcow2
rebase -b
rebase -b base.raw -F raw --image-opts driver=qcow2,file.filename=top.qcow2
rebase -f qcow2 -b base.raw -F raw top.qcow2
rebase -b top.qcow2 -F qcow2 top.qcow2
commit plain.raw
commit none
commit
commit top.qcow2
commit -q top.qcow2
commit -d top.qcow2
commit -p top.qcow2 # words
commit -f qcow2 top.qcow2
commit -f raw top.qcow2
commit -t foo top.qcow2
commit -t none top.qcow2
commit -b none top.qcow2
commit -b base.raw top.qcow2
commit -b mid.qcow2 top.qcow2
commit -b base.raw -d top.qcow2
commit -b top.qcow2 top.qcow2
commit -r foo top.qcow2
commit -r 1G top.qcow2
commit --image-opts driver=qcow2,file.filename=top.qcow2
commit --image-opts -f qcow2 driver=qcow2,file.filename=top.qcow2
commit blank.qcow2
amend top.qcow2
amend -o help
amend -o help top.qcow2 # words
amend -f qcow2 -o help # words
amend -f raw -o help
amend -f bogus -o help
amend -o size=10M top.qcow2
amend -o size=10M plain.raw
amend -o size=10M -o lazy_refcounts=on top.qcow2
amend -q -p -o size=10M top.qcow2
amend -p -o size=10M top.qcow2 # words
amend -t none -o refcount_bits=8 top.qcow2
amend -t foo -o refcount_bits=8 top.qcow2
amend -o compat=0.10 plain.raw
amend -o compat=0.10 blank.qcow2
amend -o frob=1 blank.qcow2
amend -o size=10M
amend -o size=512k copy.qcow2
amend --image-opts -o size=10M driver=qcow2,file.filename=top.qcow2
amend --image-opts -f qcow2 -o size=10M driver=qcow2,file.filename=top.qcow2
bitmap --add blank.qcow2 x
bitmap --add --granularity=4k blank.qcow2 y
bitmap --add -g 4k blank.qcow2 y
bitmap --merge b1 bitmaps.qcow2 b0
bitmap --merge b1 --source-file=bitmaps.qcow2 bitmaps.qcow2 b0
bitmap --merge b0 --source-file=bitmaps.qcow2 --source-format=qcow2 onebit.qcow2 y
bitmap --merge b0 -b bitmaps.qcow2 -F qcow2 onebit.qcow2 y
bitmap --merge b0 -b bitmaps.qcow2 -F raw onebit.qcow2 y
bitmap --merge b0 -b bitmaps.qcow2 --image-opts driver=qcow2,file.filename=onebit.qcow2 y
bitmap --add --image-opts -f qcow2 driver=qcow2,file.filename=blank.qcow2 z
bitmap --add -g 0 blank.qcow2 zz
bitmap --add -g foo blank.qcow2 zz
bitmap --add blank.qcow2 ""
bitmap --remove bitmaps.qcow2 b0
bitmap --clear --disable bitmaps.qcow2 b0
bitmap --add --remove --add bitmaps.qcow2 new
bitmap --remove stale.qcow2 b0
bitmap --enable stale.qcow2 b0
bitmap bitmaps.qcow2 b0
bitmap --add bitmaps.qcow2
bitmap --add bitmaps.qcow2 x y
bitmap --add -f raw plain.raw x
bitmap --add old.qcow2 x
bitmap --frob bitmaps.qcow2 b0
bench -c 10 top.qcow2
bench -c 10 -U top.qcow2
bench -c 10 --force-share top.qcow2
bench -c 10 -w -U top.qcow2
bench -c 10 -f qcow2 --image-opts top.qcow2
bench -c 10 --image-opts driver=qcow2,file.filename=top.qcow2
bench -c 0 top.qcow2
bench -c foo top.qcow2
bench -c -1 top.qcow2
bench -d foo top.qcow2
bench -s 0 -c 10 top.qcow2
bench -S foo -c 10 top.qcow2
bench -S 1k -c 10 top.qcow2
bench -o 1M -c 10 top.qcow2
bench -s 64k -c 10 top.qcow2
bench --pattern 256 -c 10 -w top.qcow2
bench --pattern 3 -c 10 top.qcow2
bench --pattern 3 -c 10 -w top.qcow2
bench --no-drain -c 10 top.qcow2
bench --flush-interval=64 -c 100 -w top.qcow2
bench --flush-interval=64 --no-drain -c 100 -w top.qcow2
bench -t none -i native -c 10 top.qcow2
bench -t none -n -c 10 top.qcow2
bench -t foo -c 10 top.qcow2
bench -i foo -c 10 top.qcow2
bench -i threads -c 10 top.qcow2
bench -q -c 10 top.qcow2
bench
bogus
--foo
--foo info plain.raw
info -T x plain.raw
--version # words
-V # words
--help # words
-h # words
info --help # words
convert -h # words
"""

# What is otherwise on purpose: the line, our status, a word of the message.
REFUSED = """
-T nope info plain.raw | 1 | there is no trace event 'nope'
--trace | 1 | needs an argument
info --object secret,id=a,data=b plain.raw | 1 | --object
amend --object secret,id=a,data=b -o size=10M top.qcow2 | 1 | --object
check --object secret,id=a,data=b top.qcow2 | 1 | --object
convert --object secret,id=a,data=b plain.raw x.raw | 1 | --object
amend --force -o size=10M top.qcow2 | 1 | --force
create -f qcow2 -o nocow=on x.qcow2 1M | 1 | chattr
create -f raw -o nocow=on x.raw 1M | 1 | chattr
create -f raw -o extent_size_hint=4k x.raw 1M | 1 | xfs_io
create -f qcow2 -o encryption=on x.qcow2 1M | 1 | encryption
create -f qcow2 -o encrypt.format=luks x.qcow2 1M | 1 | encryption
bench -d 0 top.qcow2 | 1 | -d
bench -d 65537 -c 10 top.qcow2 | 1 | -d
check -r leaks broken.qcow2 | 2 |
create -f file x 1M | 1 | cannot be created
convert --target-is-zero -n -O qcow2 plain.raw top.qcow2 | 1 | backing file
convert --target-is-zero -n -B base.raw -F raw -O qcow2 plain.raw top.qcow2 | 1 | backing file
convert -O qcow2 plain.raw plain.raw | 1 | plain.raw
dd if=plain.raw of=plain.raw | 1 | plain.raw
"""


def prepare():
    """What the lines work on, made once."""
    os.mkdir("images")
    os.chdir("images")
    data = content(3 << 20, 3)
    write("plain.raw", data)
    write("base.raw", content(3 << 20, 4))
    write("odd.raw", data[:777777])
    write("longer.raw", data + bytes(1 << 20))
    write("small.raw", bytes(1 << 20))
    run("convert", "-O", "qcow2", "plain.raw", "copy.qcow2", tool=QEMU)
    run("convert", "-c", "-O", "qcow2", "plain.raw", "packed.qcow2", tool=QEMU)
    run("create", "-q", "-f", "qcow2", "blank.qcow2", "4M", tool=QEMU)
    run("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid.qcow2", tool=QEMU)
    run("create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2", "5M", tool=QEMU)
    io("mid.qcow2", "write -P 11 100k 300k", "write -z 600k 200k")
    io("top.qcow2", "write -P 21 300k 65k", "write -z 1M 64k", "write -P 22 4M 512")
    for name in ("bitmaps", "stale"):
        run("create", "-q", "-f", "qcow2", name + ".qcow2", "3M", tool=QEMU)
        run("bitmap", "--add", name + ".qcow2", "b0", tool=QEMU)
        run("bitmap", "--add", "--disable", "-g", "4k", name + ".qcow2", "b1", tool=QEMU)
        io(name + ".qcow2", "write 1M 100k")
    run("create", "-q", "-f", "qcow2", "onebit.qcow2", "3M", tool=QEMU)
    run("bitmap", "--add", "onebit.qcow2", "y", tool=QEMU)
    run("create", "-q", "-f", "qcow2", "snaps.qcow2", "3M", tool=QEMU)
    run("create", "-q", "-f", "qcow2", "names.qcow2", "3M", tool=QEMU)
    for image, names in (("snaps.qcow2", ("one", "two")), ("names.qcow2", ("2", "1", "1"))):
        for n, name in enumerate(names):
            io(image, f"write -P {n + 5} {n}M 100k")
            run("snapshot", "-c", name, image, tool=QEMU)
    run("create", "-q", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on", "data.qcow2", "3M", tool=QEMU)
    io("data.qcow2", "write -P 9 1M 100k")
    run("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "old.qcow2", "3M", tool=QEMU)
    run("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "dirty.qcow2", "3M", tool=QEMU)
    for name in ("dirty.qcow2", "stale.qcow2"):  # the writer ends without closing
        with subprocess.Popen([shutil.which("qemu-io"), "-c", "write 0 300k", "-c", "flush", "-c", "abort", name],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
            assert p.wait() == -6, p.returncode
    for name, place, what in (("leaky.qcow2", 0x20000 + 60, b"\0\1"), ("broken.qcow2", 0x20000 + 2, b"\0\0")):
        shutil.copy("copy.qcow2", name)
        with open(name, "r+b") as f:
            f.seek(place)
            f.write(what)
    run("create", "-q", "-f", "qcow2", "-u", "-b", "lost.raw", "-F", "raw", "gone.qcow2", "1M", tool=QEMU)
    os.mkdir("sub")
    run("create", "-q", "-f", "qcow2", "-b", "../mid.qcow2", "-F", "qcow2", "sub/child.qcow2", tool=QEMU)
    os.chdir("..")


def tidy(text):
    """Without the program's name, times, and what no two programs allocate alike."""
    text = re.sub(r"\b(qemu|rhea)-img\b", "PROGRAM", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    text = re.sub(r'("actual-size": |"date-n?sec": )\d+', r"\1 0", text)
    text = re.sub(r"(disk size: |completed in |Image end offset: )[\d.]+( \w+)?", r"\1N", text)
    return text


def rest(folder, target):
    """What the images hold afterwards, as qemu-img sees them, and what they say of themselves; the target, and what has changed."""
    out = {}
    for path in sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names):
        base = path.rpartition("/")[2]
        with open(os.path.join(folder, path), "rb") as f:
            same = os.path.exists(os.path.join("images", path)) and f.read() == read(os.path.join("images", path))
        if same and path not in target:
            continue
        if base.endswith(".qcow2"):
            p = subprocess.run([QEMU, "info", "-U", "--output=json", path], cwd=folder, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, check=False)
            info = json.loads(p.stdout) if p.returncode == 0 else {}
            for s in info.get("snapshots", []):
                s["date-sec"] = s["date-nsec"] = 0
            info.pop("actual-size", None)
            p = subprocess.run([QEMU, "map", "-U", "--output=json", path], cwd=folder, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, check=False)
            view = json.loads(p.stdout) if p.returncode == 0 else []
            spans = []
            for e in view:  # which layer decides; where a cluster lies in the file is each program's own
                if spans and spans[-1][2] == e["depth"]:
                    spans[-1][1] += e["length"]
                else:
                    spans.append([e["start"], e["length"], e["depth"]])
            p = subprocess.run([QEMU, "dd", "-U", "-f", "qcow2", "-O", "raw", "bs=1M", "if=" + path, "of=" + os.path.abspath("view")],
                               cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            out[path] = (info, spans, read("view") if p.returncode == 0 else None)
        else:
            out[path] = read(os.path.join(folder, path))
    return out


BELOW = {"top.qcow2": ["mid.qcow2", "base.raw"], "mid.qcow2": ["base.raw"], "data.qcow2": ["data.raw"],
         "sub/child.qcow2": ["mid.qcow2", "base.raw"]}


def needed(line):
    """The images that a line names, and what lies below them."""
    named = {w for w in re.split(r"[ =,]", line) if os.path.isfile(os.path.join("images", w))}
    return named.union(*(BELOW.get(n, []) for n in named))


def one(line, tool, writes=True):
    shutil.rmtree("here", ignore_errors=True)
    os.makedirs("here/sub")
    for name in needed(line):
        shutil.copy(os.path.join("images", name), os.path.join("here", name))
    p = subprocess.run([tool, *shlex.split(line)], cwd="here", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       stdin=subprocess.DEVNULL, text=True, timeout=120, check=False)
    return p.returncode, tidy(p.stdout), p.stderr, rest("here", line.rpartition(" ")[2]) if writes else {}


def short(x):
    text = repr(x)
    return text if len(text) < 2000 else text[:1000] + " ... " + text[-1000:]


def difference(line, how):
    """What the two programs do otherwise; None: nothing."""
    writes = line.partition(" ")[0] not in ("info", "map", "compare", "measure", "bench") and not line.startswith("--")
    (status, out, err, left), (q_status, q_out, q_err, q_left) = (one(line, tool, writes) for tool in (IMG, QEMU))
    if status != q_status:
        return f"status {status}, {QEMU} {q_status}\n  {err}  {q_err}"
    if status and not err + out and "-q" not in line:
        return f"status {status} without a word"
    if "json" in line and status in (0, 2, 3):
        out, q_out = json.loads(out), json.loads(q_out)
    if how != "words" and status in (0, 2, 3) and out != q_out:
        return f"ours:\n{out}\n  theirs:\n{q_out}"
    if status == 0 and left != q_left:
        name = next(n for n in sorted(set(left) | set(q_left)) if left.get(n) != q_left.get(n))
        return f"{name} is\n    {short(left.get(name))}, by {QEMU}\n    {short(q_left.get(name))}"
    return None


def same_answers():
    need_io()
    prepare()
    lines = [line.partition(" # ") for line in LINES.strip().split("\n")]
    if not ALL:
        lines = lines[::5]
    bad = [f"{line}\n  {d}" for line, _, how in lines for d in [difference(line, how)] if d]
    assert not bad, f"{len(bad)} of {len(lines)} differ\n" + "\n".join(bad)
    print(f"# {len(lines)} lines, differences: 0")


def refused():
    need_io()
    prepare()
    for entry in REFUSED.strip().split("\n"):
        line, status, word = (w.strip() for w in entry.split("|"))
        have, out, err, left = one(line, IMG)
        assert have == int(status) and word in err, f"{line}: status {have}\n{out}{err}"
        base = re.split("[ =]", line)[-1]
        assert not set(left) - {base}, (line, sorted(left))
        assert base not in left or not os.path.exists(f"images/{base}") or read(f"here/{base}") == read(f"images/{base}"), line


def dd_counts():
    """count= blocks are read behind skip=, as dd(1) does and qemu-img says; qemu-img 7.2 counts them from the beginning."""
    write("in.raw", content(100000, 3))
    for bs, count, skip in ((1000, 2, 1), (512, 3, 100), (1 << 20, 1, 0), (7, 5, 1)):
        for kind in ("raw", "qcow2"):
            run("dd", "-f", "raw", "-O", kind, f"bs={bs}", f"count={count}", f"skip={skip}", "if=in.raw", "of=out")
            run("convert", "-O", "raw", "out", "out.raw")
            want = read("in.raw")[bs * skip:bs * (skip + count)]
            assert read("out.raw") == want + bytes(-len(want) % 512), (bs, count, skip, kind)


if __name__ == "__main__":
    sys.exit(run_tests([same_answers, refused, dd_counts]))
