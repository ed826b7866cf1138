#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Wrong QMP calls: each gets the class that QEMU's clients look at, a code that stays, the member at fault, and a sentence that says
what is wrong; the session goes on. tests/func/cli_wrong.py does the same for command lines.

A row is a command, its arguments, what is expected: CLASS/CODE/MEMBER (- for none; GenericError is left out) and a pattern
(fnmatch) for the sentence, whose end in parentheses is the cure (unless the sentence says what must be given)."""
import fnmatch
import json
import sys

import qmp
import rheatest as rt

MACHINE = ("-M", "q35", "-m", "16M", "-chardev", "ringbuf,id=ring", "-chardev", "null,id=nil", "-object", "iothread,id=io", "-object",
           "throttle-group,id=tg", "-blockdev", "null-co,node-name=disk,size=1M,read-zeroes=on", "-device", "virtio-blk-pci,drive=disk,id=vd",
           "-device", "ide-cd,id=cd", "-blockdev", "null-co,node-name=free,size=1M")
ROWS = r"""
nosuch-command                                               => CommandNotFound/command-not-found/execute there is no command 'nosuch-command' (query-commands lists them)
qury-status                                                  => CommandNotFound/command-not-found/execute there is no command 'qury-status' (did you mean 'query-status'?)
query-status {"a": 1}                                        => unknown-member/a 'a' is unknown: command 'query-status' takes no arguments (leave 'arguments' out)
stop {"now": true}                                           => unknown-member/now 'now' is unknown: command 'stop' takes no arguments (leave 'arguments' out)
qmp_capabilities                                             => CommandNotFound/command-not-found/- the session has begun already: capabilities are chosen once (connect anew to choose others)
getfd                                                        => missing-member/fdname 'fdname' is missing (give it: the name, not beginning with a digit. An older one of that name is closed)
getfd {"fdname": 1}                                          => wrong-type/fdname 'fdname' must be a string, not integer
getfd {"fdname": "a", "x": 1}                                => unknown-member/x 'x' is unknown (there is fdname)
getfd {"fdname": "a"}                                        => no-descriptor/- no descriptor came along with the command (send one over a unix*
closefd {"fdname": "nothing"}                                => not-found/fdname there is no descriptor with the name 'nothing' (getfd gives a name to*
add-fd {"fdset-id": "x"}                                     => wrong-type/fdset-id 'fdset-id' must be an integer, not string
add-fd                                                       => no-descriptor/- no descriptor came along with the command (send one over a unix*
remove-fd {"fdset-id": 99}                                   => not-found/fdset-id there is no descriptor set 99 (query-fdsets lists the sets)
remove-fd {"fdset-id": 0, "fd": -1}                          => out-of-range/fd 'fd' is -1, which is no descriptor (query-fdsets lists the descriptors)
human-monitor-command                                        => missing-member/command-line 'command-line' is missing (give it: the line)
human-monitor-command {"command-line": "info name", "cpu-index": 9} => out-of-range/cpu-index 'cpu-index' is 9: there is no such CPU (query-cpus-fast lists them)
human-monitor-command {"command-line": 5}                    => wrong-type/command-line 'command-line' must be a string, not integer
set-action {"reboot": "never"}                               => invalid-value/reboot 'reboot' must be one of *
set-action {"watchdog": "bark"}                              => invalid-value/watchdog 'watchdog' must be one of *
set-action {"panic": 1}                                      => wrong-type/panic 'panic' must be a string, not integer
watchdog-set-action                                          => missing-member/action 'action' is missing (give it: what follows)
watchdog-set-action {"action": "bark"}                       => invalid-value/action 'action' must be one of *
memsave {"val": 0, "size": -1, "filename": "x"}              => out-of-range/size 'size' must not be negative (give bytes, 0 or more)
pmemsave {"val": 0, "size": 1, "filename": "/nonexistent/x"} => file-not-found/filename could not open '/nonexistent/x': No such file or directory (see whether the name is right: its folder must exist)
pmemsave {"val": 4503599627370496, "size": 1, "filename": "/dev/null"} => out-of-range/val there is no memory at physical address 0x10000000000000 ('info mtree -f' shows where memory is)
pmemsave {"val": 1.5, "size": 1, "filename": "x"}            => wrong-type/val 'val' must be an integer, not number
pmemsave {"val": 0}                                          => missing-member/size 'size' is missing (give it: bytes)
qom-list {"path": "/nowhere"}                                => DeviceNotFound/not-found/path there is no object '/nowhere' (qom-list shows what is below /machine)
qom-list                                                     => missing-member/path 'path' is missing (give it: the object's path, such as /machine/peripheral)
qom-list {"path": 5}                                         => wrong-type/path 'path' must be a string, not integer
qom-get {"path": "/machine/peripheral/vd", "property": "nothing"} => not-found/property object '/machine/peripheral/vd' has no property 'nothing' (qom-list*
qom-get {"path": "/machine/peripheral/nothing", "property": "type"} => DeviceNotFound/not-found/path there is no object '/machine/peripheral/nothing' (qom-list shows what*
qom-get {"path": "/machine"}                                 => missing-member/property 'property' is missing (give it: the property)
qom-set {"path": "/machine/peripheral/vd", "property": "serial", "value": 5} => not-changeable/property property 'serial' of '/machine/peripheral/vd' cannot change any more*
qom-set {"path": "/machine/peripheral/vd", "property": "nothing", "value": 5} => not-found/property object '/machine/peripheral/vd' has no property 'nothing' (qom-list*
blockdev-add {"driver": "qcow2", "node-name": "a", "file": "free"} => invalid-value/file 'free' is not a qcow2 image ('rhea-img info' tells what it is)
blockdev-add {"driver": "qcow2", "node-name": "a", "file": {"driver": "raw", "file": "free"}} => invalid-value/file.file 'free' is not a qcow2 image ('rhea-img info' tells what it is)
qom-list-types {"implements": 5}                             => wrong-type/implements 'implements' must be a string, not integer
qom-list-types {"abstract": "yes"}                           => wrong-type/abstract 'abstract' must be true or false, not string
qom-list-properties {"typename": "nothing"}                  => DeviceNotFound/not-found/typename there is no type 'nothing' (qom-list-types lists the types)
device-list-properties {"typename": "nothing"}               => DeviceNotFound/not-found/typename there is no device 'nothing' (qom-list-types lists the types)
device-list-properties                                       => missing-member/typename 'typename' is missing (give it: the device type)
device-list-properties {"typename": "tcg-accel"}             => DeviceNotFound/not-found/typename there is no device 'tcg-accel' (qom-list-types lists the types)
device_add                                                   => missing-member/driver 'driver' is missing: which device? (-device help lists the devices)
device_add {"driver": "nothing"}                             => DeviceNotFound/not-found/driver 'nothing' is not a device this emulator has (-device help lists those it has)
device_add {"driver": "virtio-rng-pic"}                      => DeviceNotFound/not-found/driver 'virtio-rng-pic' is not a device this emulator has (did you mean*
device_add {"driver": 5}                                     => missing-member/driver 'driver' is missing: which device? (-device help lists the devices)
device_add {"driver": "isa-serial", "id": "vd"}              => already-exists/id there is already a device with id 'vd'*
device_add {"driver": "isa-serial", "nothing": 5}            => unknown-member/nothing device 'isa-serial' has no property 'nothing' (-device*
device_add {"driver": "ICH9-LPC"}                            => not-supported/driver device 'ICH9-LPC' is part of the board and cannot be added (-device help lists what can be added)
device_add {"driver": "virtio-blk-pci", "drive": "nothing"}  => not-found/drive there is no drive or block node 'nothing' (query-named-block-nodes lists the nodes, query-block the drives)
device_del {"id": "nothing"}                                 => DeviceNotFound/not-found/id there is no device with id 'nothing' ('qom-list /machine/peripheral' lists those that have one)
device_del                                                   => missing-member/id 'id' is missing (give it: its id, or its path)
object-add {"qom-type": "nothing", "id": "a"}                => invalid-value/qom-type 'qom-type' must be one of *
object-add {"qom-type": "iothread"}                          => missing-member/id 'id' is missing (give it: its id)
object-add {"qom-type": "iothread", "id": "io"}              => already-exists/id there is already an object with id 'io' (give another id, or remove that one: object-del)
object-add {"qom-type": "iothread", "id": "a", "poll-max-ns": -1} => out-of-range/poll-max-ns 'poll-max-ns' must be between 0 and 1000000000, not -1
object-add {"qom-type": "throttle-group", "id": "a", "limits": {"bps-total": 5, "bps-read": 5}} => conflict/limits.bps-read throttle group 'a': bps-total and bps-read exclude each other (give the sum alone, or reading and writing)
object-add {"qom-type": "memory-backend-ram", "id": "a", "size": 0} => out-of-range/size 'size' must be between 1 bytes and 8 EiB, not 0 bytes
object-add {"qom-type": "memory-backend-ram", "id": "a", "size": "1G"} => wrong-type/size 'size' must be an integer, not string
object-add {"qom-type": "memory-backend-file", "id": "a", "size": 4096, "mem-path": "/nonexistent/x"} => file-not-found/mem-path could not open '/nonexistent/x': No such file or directory (the*
object-add {"qom-type": "rng-random", "id": "a", "filename": "/nonexistent"} => file-not-found/filename 'a': cannot open '/nonexistent': No such file or directory (filename=*
object-del {"id": "nothing"}                                 => not-found/id there is no object with id 'nothing' (qom-list /objects lists them)
object-del                                                   => missing-member/id 'id' is missing (give it: its id)
chardev-add                                                  => missing-member/id 'id' is missing (give it: its id)
chardev-add {"id": "a", "backend": {"type": "nothing", "data": {}}} => invalid-value/backend.type 'backend.type' must be one of *
chardev-add {"id": "nil", "backend": {"type": "null", "data": {}}} => already-exists/id there is already a chardev with id 'nil' (give another id, or remove that one: chardev-remove)
chardev-add {"id": "a", "backend": {"type": "file", "data": {"out": "/nonexistent/x"}}} => file-not-found/backend.data.out could not open '/nonexistent/x' for writing: No such file or directory (see whether the name is right: its folder must exist)
chardev-add {"id": "a", "backend": {"type": "socket", "data": {"addr": {"type": "unix", "data": {}}}}} => missing-member/backend.data.addr.data.path 'backend.data.addr.data.path' is missing (give it: the socket's name)
chardev-add {"id": "a", "backend": {"type": "ringbuf", "data": {"size": 5}}} => invalid-value/backend.data.size ringbuf size 5 is not a power of two up to 1 GiB (65536 is the usual one)
chardev-add {"id": "a", "backend": {"type": "udp", "data": {"remote": {"type": "inet", "data": {"host": "a", "port": "1"}}}}} => invalid-value/backend.type 'backend.type' must be one of *
chardev-remove {"id": "nothing"}                             => not-found/id there is no chardev with id 'nothing' (query-chardev lists them; -chardev and chardev-add make one)
chardev-remove {"id": "compat_monitor0"}                     => in-use/id chardev 'compat_monitor0' is in use by a QMP monitor (remove what uses it first)
yank {"instances": [{"type": "chardev", "id": "nothing"}]}   => DeviceNotFound/not-found/instances.0.id there is no chardev with id 'nothing' (query-yank lists what can be*
yank {"instances": 5}                                        => wrong-type/instances 'instances' must be a list, not integer
yank {"instances": [{"type": "nothing"}]}                    => invalid-value/instances.0.type 'instances.0.type' must be one of *
blockdev-add                                                 => missing-member/driver 'driver' is missing (one of file, host_device, nbd, null-co, raw, qcow2, copy-on-read, throttle, blklogwrites, blkdebug)
blockdev-add {"driver": "nothing", "node-name": "a"}         => invalid-value/driver 'driver' must be one of *
blockdev-add {"driver": "null-co"}                           => missing-member/node-name 'node-name' is missing (it is the name that drive= of a -device takes)
blockdev-add {"driver": "null-co", "node-name": "disk"}      => already-exists/node-name node name 'disk' is in use (give another name)
blockdev-add {"driver": "null-co", "node-name": "5"}         => invalid-value/node-name '5' is not a valid node name (a name is a letter, then up to 30*
blockdev-add {"driver": "null-co", "node-name": "a", "size": -1} => out-of-range/size 'size' must not be negative
blockdev-add {"driver": "null-co", "node-name": "a", "nothing": 1} => unknown-member/nothing 'nothing' is unknown (there are driver, node-name, read-only, auto-read-only, force-share, discard, detect-zeroes, cache, size, read-zeroes)
blockdev-add {"driver": "file", "node-name": "a", "filename": "/nonexistent"} => file-not-found/filename cannot open '/nonexistent': No such file or directory (see whether the name is right: its folder must exist)
blockdev-add {"driver": "raw", "node-name": "a", "file": "nothing"} => not-found/file 'file' of node 'a': there is no node 'nothing' (query-named-block-nodes lists the nodes)
blockdev-add {"driver": "raw", "node-name": "a"}             => missing-member/file 'file' is missing (give it: the node below: its name, or its options)
blockdev-del {"node-name": "nothing"}                        => not-found/node-name there is no block node 'nothing' (query-named-block-nodes lists the nodes)
blockdev-del {"node-name": "disk"}                           => in-use/node-name block node 'disk' is in use (remove the device, the medium or the*
block_resize {"node-name": "disk", "size": -1}               => out-of-range/size size -1 is negative (give bytes, 0 or more)
block_resize {"size": 5}                                     => missing-member/node-name 'device' or 'node-name' is missing: which disk? (query-block lists the drives, query-named-block-nodes the nodes)
block_resize {"node-name": "nothing", "size": 512}           => not-found/node-name there is no block node 'nothing' (query-named-block-nodes lists the nodes)
block_set_io_throttle {"id": "nothing", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0} => DeviceNotFound/not-found/id there is no drive or device 'nothing' (query-block lists the drives)
block_set_io_throttle {"id": "vd", "bps": 5, "bps_rd": 5, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0} => conflict/bps_rd bps and bps_rd exclude each other (give the sum alone, or reading and writing)
block_set_io_throttle {"id": "vd"}                           => missing-member/bps 'bps' is missing (give it: bytes)
block-dirty-bitmap-add {"node": "nothing", "name": "b"}      => not-found/node there is no block node and no drive 'nothing' (query-named-block-nodes lists the nodes)
block-dirty-bitmap-add {"node": "disk", "name": ""}          => invalid-value/name a bitmap's name has 1 to 1023 bytes (give a shorter one that is not empty)
block-dirty-bitmap-add {"node": "disk", "name": "b", "granularity": 3} => invalid-value/granularity Granularity must be power of 2 and at least 512 (and at most 2G), not*
block-dirty-bitmap-remove {"node": "disk", "name": "b"}      => not-found/name Dirty bitmap 'b' not found (query-named-block-nodes lists the bitmaps of nodes)
block-dirty-bitmap-merge {"node": "disk", "target": "b", "bitmaps": []} => not-found/target Dirty bitmap 'b' not found (query-named-block-nodes lists the bitmaps of nodes)
blockdev-open-tray {"id": "nothing"}                         => DeviceNotFound/not-found/id there is no drive or device 'nothing' (query-block lists the drives)
blockdev-open-tray {"id": "vd"}                              => not-removable/id 'vd' has no removable medium (CD-ROM and floppy drives have one; device_del removes a disk)
blockdev-open-tray                                           => missing-member/id 'id' is missing: which device? (query-block lists the devices)
blockdev-insert-medium {"id": "cd", "node-name": "free"}     => tray-closed/id the tray of 'cd' is not open (blockdev-open-tray opens it)
blockdev-remove-medium {"id": "cd"}                          => tray-closed/id the tray of 'cd' is not open (blockdev-open-tray opens it)
blockdev-change-medium {"id": "cd", "filename": "/nonexistent"} => file-not-found/filename cannot open '/nonexistent': No such file or directory (see whether the name is right: its folder must exist)
eject {"device": "nothing"}                                  => DeviceNotFound/not-found/device there is no drive or device 'nothing' (query-block lists the drives)
query-named-block-nodes {"flat": 5}                          => wrong-type/flat 'flat' must be true or false, not integer
block-latency-histogram-set {"id": "nothing"}                => DeviceNotFound/not-found/id there is no drive or device 'nothing' (query-block lists the drives)
nbd-server-stop                                              => not-running/- the NBD server does not run (nbd-server-start starts it)
nbd-server-start {"addr": {"type": "nothing"}}               => invalid-value/addr.type 'addr.type' must be one of *
nbd-server-add {"device": "disk"}                            => not-running/- the NBD server does not run (nbd-server-start starts it)
block-export-add {"type": "nbd", "id": "e", "node-name": "disk"} => not-running/- the NBD server does not run (nbd-server-start starts it)
block-export-del {"id": "nothing"}                           => not-found/id there is no export 'nothing' (query-block-exports lists them)
send-key {"keys": [{"type": "qcode", "data": "nothing"}]}    => invalid-value/keys.0.data 'keys.0.data' must be one of *
send-key {"keys": 5}                                         => wrong-type/keys 'keys' must be a list, not integer
send-key {"keys": [{"type": "number", "data": 99999}]}       => invalid-value/keys.0.data the keyboard has no key with scan code 99999 (codes of set 1 are*
input-send-event {"events": [{"type": "nothing"}]}           => invalid-value/events.0.type 'events.0.type' must be one of *
query-cpu-model-expansion {"type": "static", "model": {"name": "nothing"}} => not-found/model.name unknown CPU model 'nothing' ('-cpu help' lists the models)
query-cpu-model-expansion {"type": "nothing", "model": {"name": "max"}} => invalid-value/type 'type' must be one of *
query-vm-generation-id                                       => not-supported/- this machine has no VM generation ID (start it with -device vmgenid)
query-command-line-options {"option": "nothing"}             => not-found/option there is no option 'nothing' with parameters (without 'option' all are listed)
netdev_add {"type": "nothing", "id": "n"}                    => invalid-value/type 'type' must be one of *
netdev_add {"type": "user"}                                  => missing-member/id 'id' is missing (give it: the name that a network card's netdev= refers to)
netdev_add {"type": "user", "id": "n", "net": "1.2.3.4/99"}  => out-of-range/net 'net' does not take '1.2.3.4/99': a prefix has 1 to 30 bits (it looks like 10.0.2.0/24)
netdev_del {"id": "nothing"}                                 => DeviceNotFound/not-found/id there is no network back end 'nothing' ('info network' lists them)
set_link {"name": "nothing", "up": true}                     => DeviceNotFound/not-found/name there is no network card or back end 'nothing' (x-rhea-query-net lists them)
set_link {"name": "nothing"}                                 => missing-member/up 'up' is missing (give it: plugged in)
query-rx-filter {"name": "nothing"}                          => not-found/name there is no network card 'nothing' (x-rhea-query-net lists them)
announce-self {"initial": -1, "max": 5, "rounds": 5, "step": 5} => out-of-range/initial 'initial' must be between 1 and 100000, not -1
migrate-set-capabilities {"capabilities": [{"capability": "xbzrle", "state": true}]} => not-supported/capabilities.0 capability 'xbzrle' cannot be on: this machine cannot migrate*
migrate-set-capabilities {"capabilities": [{"capability": "nothing", "state": false}]} => invalid-value/capabilities.0.capability 'capabilities.0.capability' must be one of *
query-stats {"target": "nothing"}                            => invalid-value/target 'target' must be one of *
memsave {"val": 0, "size": 1, "filename": "/dev/null", "cpu-index": 9} => out-of-range/cpu-index 'cpu-index' is 9: there is no such CPU (query-cpus-fast lists them)
dump-guest-memory {"paging": false, "protocol": "elf.core"}  => invalid-value/protocol 'protocol' must be file:PATH or fd:NAME, not 'elf.core' (for example file:guest.core)
dump-guest-memory {"paging": false, "protocol": "file:/nonexistent/x"} => file-not-found/protocol could not open '/nonexistent/x': No such file or directory (see whether the name is right: its folder must exist)
dump-guest-memory {"paging": false, "protocol": "fd:nothing"} => not-found/protocol there is no descriptor with the name 'nothing' (getfd gives a name to a descriptor)
dump-guest-memory {"paging": false, "protocol": "file:/dev/null", "begin": 0} => missing-member/length 'begin' and 'length' go together (give both, or neither for all memory)
dump-guest-memory {"paging": false, "protocol": "file:/dev/null", "begin": -1, "length": 5} => out-of-range/begin 'begin' must not be negative, and 'length' must be positive (give both, or neither for all memory)
dump-guest-memory {"paging": false, "protocol": "file:/dev/null", "format": "kdump-lzo"} => not-supported/format format=kdump-lzo is not there: this program has no LZO (use elf or kdump-zlib)
dump-guest-memory {"paging": true, "protocol": "file:/dev/null", "format": "kdump-zlib"} => not-supported/paging compressed dumps have all of the memory, by physical addresses (use format=elf, or leave out paging, begin and length)
balloon {"value": 0}                                         => out-of-range/value 'value' is 0: the guest must keep some memory (give bytes, up to the machine's 16777216)
balloon {"value": 16777216}                                  => DeviceNotActive/device-not-active/- no balloon device has been activated (add -device virtio-balloon-pci)
ringbuf-read {"device": "nothing", "size": 5}                => not-found/device there is no chardev with id 'nothing' (query-chardev lists them)
ringbuf-read {"device": "nil", "size": 5}                    => invalid-value/device chardev 'nil' is no ringbuf (query-chardev lists them)
ringbuf-read {"device": "ring", "size": 0}                   => out-of-range/size 'size' is 0: there is nothing to read (1 and more are possible)
ringbuf-write {"device": "ring", "data": "%%%", "format": "base64"} => invalid-value/data 'data' is not base64 ('base64 FILE' makes such a text; format=utf8 takes text as it is)
chardev-change {"id": "nothing", "backend": {"type": "null", "data": {}}} => not-found/id there is no chardev with id 'nothing' (query-chardev lists them; -chardev and chardev-add make one)
chardev-send-break {"id": "nothing"}                         => not-found/id there is no chardev with id 'nothing' (query-chardev lists them; -chardev and chardev-add make one)
chardev-add {"id": "5", "backend": {"type": "null", "data": {}}} => invalid-value/id id '5' is not a name: a letter, then letters, digits, '-', '.', '_' (such as char0)
chardev-add {"id": "a", "backend": {"type": "socket", "data": {"addr": {"type": "fd", "data": {"str": "99"}}}}} => invalid-value/backend.data.addr.data.str descriptor 99 is not an open stream socket (pass a connected or a listening socket)
chardev-add {"id": "a", "backend": {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": "/nonexistent/s"}}, "server": false}}} => file-not-found/backend.data.addr could not connect to unix:/nonexistent/s: No such file or directory (reconnect=SECONDS tries again; server=on listens instead)
chardev-add {"id": "a", "backend": {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": "/tmp/s"}}, "server": false, "wait": true}}} => conflict/backend.data.wait 'wait' goes with server=on only (leave it out, or use server=on)
chardev-add {"id": "a", "backend": {"type": "socket", "data": {"addr": {"type": "inet", "data": {"host": "", "port": "5", "to": 4}}}}} => invalid-value/backend.data.addr.data.to to=4 lies below port=5 (give a port behind port=)
query-cpu-model-expansion {"type": "full", "model": {"name": "max", "props": {"nothing": true}}} => unknown-member/model.props.nothing -cpu: unknown feature or property 'nothing' ('-cpu help' lists the feature names)
query-cpu-model-expansion {"type": "full", "model": {"name": "max", "props": {"avx": 5}}} => invalid-value/model.props.avx -cpu feature 'avx': '5' is not a switch (use 'on' or 'off')
query-cpu-model-expansion {"type": "full", "model": {"name": "max", "props": {"avx,": true}}} => unknown-member/model.props 'avx,' is not a CPU property with a value that -cpu could have (device-list-properties of max-x86_64-cpu lists them)
query-cpu-model-expansion {"type": "full", "model": {"name": "max", "props": 5}} => wrong-type/model a model is a name and an object of properties (for example {"name": "max", "props": {"avx": false}})
block-set-write-threshold {"node-name": "nothing", "write-threshold": 0} => not-found/node-name there is no node 'nothing' (query-named-block-nodes lists them)
blockdev-insert-medium {"id": "cd", "node-name": "nothing"}  => not-found/node-name there is no block node 'nothing' (open it with blockdev-add)
blockdev-remove-medium {"id": "vd"}                          => not-removable/id 'vd' has no removable medium (CD-ROM and floppy drives have one; device_del removes a disk)
blockdev-change-medium {"id": "cd", "filename": "/dev/null", "read-only-mode": "read-write"} => not-supported/read-only-mode 'read-only-mode' is read-write: 'cd' only reads its media (leave it out)
blockdev-change-medium {"id": "cd", "filename": "/dev/null", "format": "nothing"} => invalid-value/format format 'nothing' is not known (such as raw or qcow2)
block_resize {"device": "vd", "node-name": "disk", "size": 512} => conflict/node-name 'device' and 'node-name' exclude each other (query-block lists the drives, query-named-block-nodes the nodes)
block-dirty-bitmap-merge {"node": "disk", "target": "b", "bitmaps": ["nothing"]} => not-found/bitmaps.0 Dirty bitmap 'nothing' not found (query-named-block-nodes lists the bitmaps of nodes)
block-dirty-bitmap-merge {"node": "disk", "target": "b", "bitmaps": [{"node": "nothing", "name": "b"}]} => not-found/bitmaps.0.node there is no block node and no drive 'nothing' (query-named-block-nodes lists the nodes)
nbd-server-remove {"name": "nothing"}                        => not-found/name there is no export 'nothing' (query-block-exports lists them)
nbd-server-start {"addr": {"type": "unix", "data": {"path": "/nonexistent/s"}}} => file-not-found/addr cannot listen at unix:/nonexistent/s: No such file or directory (see whether the name is right: its folder must exist)
nbd-server-start {"addr": {"type": "fd", "data": {"str": "99"}}} => invalid-value/addr '99' is not the number of an open stream socket (pass an open socket of type SOCK_STREAM)
object-add {"qom-type": "secret", "id": "s"}                 => missing-member/data secret 's': 'data' or 'file' is needed (file= keeps the secret out of the list of processes)
object-add {"qom-type": "secret", "id": "s", "data": "a", "file": "b"} => conflict/data secret 's': 'data' and 'file' exclude each other (file= keeps the secret out of the list of processes)
object-add {"qom-type": "secret", "id": "s", "data": "a", "keyid": "nothing", "iv": "AAECAwQFBgcICQoLDA0ODw=="} => not-found/keyid secret 's': 'keyid': there is no secret 'nothing' (make it before, with -object secret,id=nothing,file=FILE)
object-add {"qom-type": "secret", "id": "s", "data": "%", "format": "base64"} => invalid-value/data secret 's': 'data' is not base64 (format=raw takes the bytes as they are)
object-add {"qom-type": "throttle-group", "id": "5"}         => invalid-value/id id '5' is not a name: a letter, then letters, digits, '-', '.', '_' (such as obj0)
object-add {"qom-type": "memory-backend-ram", "id": "a", "size": 4097} => invalid-value/size 'size' must be a multiple of 4 KiB, not 4097 bytes (round it up)
device_add {"driver": "virtio-rng-pci", "bus": "nothing"}    => not-found/bus there is no bus 'nothing' for device 'virtio-rng-pci' ('info qtree' in the monitor lists the buses of a machine)
device_add {"driver": "virtio-rng-pci", "addr": "20.0"}      => invalid-value/addr property 'addr' does not accept '20.0' (give slot and optional function in hexadecimal, such as 06.0 or 1f)
device_add {"driver": "virtio-rng-pci", "rng": "nothing"}    => not-hotpluggable/bus bus 'pcie.0' does not support hotplugging (plug it into a pcie-root-port that the machine was started with: -device pcie-root-port,id=ID,chassis=*
device_add {"driver": "virtio-net-pci", "mac": "x"}          => invalid-value/mac property 'mac': 'x' is not a network card's address (it looks like 52:54:00:12:34:56)
device_add {"driver": "virtio-net-pci", "netdev": "nothing"} => not-found/netdev property 'netdev': there is no network back end 'nothing' (make it before: netdev_add or -netdev)
device_add {"driver": "virtio-blk-pci", "drive": "disk"}     => not-hotpluggable/bus bus 'pcie.0' does not support hotplugging (plug it into a pcie-root-port that the machine was started with: -device pcie-root-port,id=ID,chassis=*
device_add {"driver": "isa-serial", "chardev": "nothing"}    => not-found/chardev there is no chardev with id 'nothing' (query-chardev lists them; -chardev and chardev-add make one)
device_add {"driver": "isa-serial", "irq": 99}               => not-hotpluggable/bus bus 'isa.0' does not support hotplugging (use -device on the command line)
device_add {"driver": "isa-serial", "irq": []}               => wrong-type/irq property 'irq' is of type uint32 and does not accept a JSON value of kind array (give a value of that type, or the text that -device takes)
device_add {"driver": "virtio-balloon-pci", "disable-legacy": "perhaps"} => invalid-value/disable-legacy property 'disable-legacy' does not accept 'perhaps' (possible values: auto, on, off)
x-rhea-accel {"accel": "nothing"}                            => not-found/accel unknown accelerator 'nothing' (x-rhea-query-accel lists them)
x-rhea-accel {"accel": "tcg", "props": {"nothing": 1}}       => unknown-member/props.nothing accelerator 'tcg' has no property 'nothing' (-accel NAME,help lists its properties)
netdev_add {"type": "hubport", "id": "h", "hubid": 0, "netdev": "nothing"} => not-found/netdev there is no network back end 'nothing' (make it before: netdev_add or -netdev)
netdev_add {"type": "user", "id": "5"}                       => invalid-value/id id '5' is not a name: a letter, then letters, digits, '-', '.', '_' (such as net0)
netdev_add {"type": "user", "id": "n", "ipv4": false, "ipv6": false} => conflict/ipv4 'ipv4' and 'ipv6' are both off: nothing is left (leave one of them on)
netdev_add {"type": "user", "id": "n", "tftp": "/nonexistent"} => file-not-found/tftp 'tftp' does not take '/nonexistent': there is no such folder (create it first)
netdev_add {"type": "user", "id": "n", "hostfwd": [{"str": "sctp::1-:2"}]} => invalid-syntax/hostfwd hostfwd=sctp::1-:2: the rule begins with neither 'tcp:', 'udp:' nor ':' (it looks like tcp::5555-:22, or udp:127.0.0.1:5353-10.0.2.15:53)
query-rx-filter {"name": "disk"}                             => not-found/name there is no network card 'disk' (x-rhea-query-net lists them)
"""


def parse(line):
    call, expected = line.split("=>")
    name, _, arguments = call.strip().partition(" ")
    what, _, pattern = expected.strip().partition(" ")
    parts = what.split("/")
    cls, code, member = parts if len(parts) == 3 else ["GenericError"] + parts
    return name, json.loads(arguments) if arguments.strip() else None, cls, code, None if member == "-" else member, pattern.strip()


def has_cure(error):
    """A sentence ends with the cure, or says itself what must be given."""
    hint = error.get("data", {}).get("hint")
    return error["desc"].replace("\n", " ").endswith(f"({hint})".replace("\n", " ")) if hint else " must " in error["desc"]


def check(c, line):
    name, arguments, cls, code, member, pattern = parse(line)
    request = {"execute": name, "id": line}
    if arguments is not None:
        request["arguments"] = arguments
    c.send(request)
    m = c.reply()
    e = m.get("error", {})
    data = e.get("data", {})
    right = m.get("id") == line and (e.get("class"), data.get("code"), data.get("member")) == (cls, code, member) and \
        fnmatch.fnmatchcase(e["desc"], pattern) and has_cure(e)
    return None if right else f"{name} {json.dumps(arguments)}\n  wanted {cls}/{code}/{member} {pattern}\n  got {json.dumps(m)}"


def wrong_calls():
    rows = [line for line in ROWS.strip().splitlines() if line]
    whole = [r for r in rows if (p := parse(r))[3] != "failed" and p[4]]
    qmp.expect(len(whole) >= 170, f"the table has shrunk to {len(whole)} rows with code and member, of {len(rows)}")
    with qmp.Vm(*MACHINE) as vm:
        c = qmp.Client(vm.path)
        bad = [b for b in (check(c, line) for line in rows) if b]
        qmp.expect(not bad, "\n".join(bad))
        qmp.expect(c.call("query-status")["status"] == "prelaunch", "it goes on")
    return f"{len(rows)} calls, {len(whole)} with code, member and cure"


if __name__ == "__main__":
    rt.main(wrong_calls)
