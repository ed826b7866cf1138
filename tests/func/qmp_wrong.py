#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Wrong QMP calls: each gets the class that QEMU's clients look at, a code that stays, the member at fault, and a sentence that says
what is wrong; the session goes on. tests/func/cli_wrong.py does the same for command lines.

A row is a command, its arguments, what is expected: CLASS/CODE/MEMBER (- for none; GenericError is left out) and a pattern
(fnmatch) for the sentence, whose end in parentheses is the cure."""
import fnmatch
import json
import sys

import qmp
import rheatest as rt

MACHINE = ("-M", "q35", "-m", "16M", "-chardev", "ringbuf,id=ring", "-chardev", "null,id=nil", "-object", "iothread,id=io", "-object",
           "throttle-group,id=tg", "-blockdev", "null-co,node-name=disk,size=1M,read-zeroes=on", "-device", "virtio-blk-pci,drive=disk,id=vd",
           "-device", "ide-cd,id=cd", "-blockdev", "null-co,node-name=free,size=1M")
ROWS = r"""
nosuch-command                                               => CommandNotFound/command-not-found/- there is no command 'nosuch-command'
qury-status                                                  => CommandNotFound/command-not-found/- there is no command 'qury-status' (did you mean 'query-status'?)
query-status {"a": 1}                                        => unknown-member/a 'a' is unknown: command 'query-status' takes no arguments
stop {"now": true}                                           => unknown-member/now 'now' is unknown: command 'stop' takes no arguments
qmp_capabilities                                             => CommandNotFound/command-not-found/- the session has begun already: capabilities are chosen once
getfd                                                        => missing-member/fdname 'fdname' is missing
getfd {"fdname": 1}                                          => wrong-type/fdname 'fdname' must be a string, not integer
getfd {"fdname": "a", "x": 1}                                => unknown-member/x 'x' is unknown
getfd {"fdname": "a"}                                        => failed/- no descriptor came along with the command (send one over a unix*
closefd {"fdname": "nothing"}                                => failed/- there is no descriptor with the name 'nothing' (getfd gives a name to*
add-fd {"fdset-id": "x"}                                     => wrong-type/fdset-id 'fdset-id' must be an integer, not string
add-fd                                                       => failed/- no descriptor came along with the command (send one over a unix*
remove-fd {"fdset-id": 99}                                   => failed/- there is no descriptor set 99
remove-fd {"fdset-id": 0, "fd": -1}                          => out-of-range/fd 'fd' is -1, which is no descriptor
human-monitor-command                                        => missing-member/command-line 'command-line' is missing
human-monitor-command {"command-line": "info name", "cpu-index": 9} => out-of-range/cpu-index 'cpu-index' is 9: there is no such CPU
human-monitor-command {"command-line": 5}                    => wrong-type/command-line 'command-line' must be a string, not integer
set-action {"reboot": "never"}                               => invalid-value/reboot 'reboot' must be one of *
set-action {"watchdog": "bark"}                              => invalid-value/watchdog 'watchdog' must be one of *
set-action {"panic": 1}                                      => wrong-type/panic 'panic' must be a string, not integer
watchdog-set-action                                          => missing-member/action 'action' is missing
watchdog-set-action {"action": "bark"}                       => invalid-value/action 'action' must be one of *
memsave {"val": 0, "size": -1, "filename": "x"}              => out-of-range/size 'size' must not be negative
pmemsave {"val": 0, "size": 1, "filename": "/nonexistent/x"} => failed/- could not open '/nonexistent/x': No such file or directory
pmemsave {"val": 4503599627370496, "size": 1, "filename": "/dev/null"} => out-of-range/val there is no memory at physical address 0x10000000000000
pmemsave {"val": 1.5, "size": 1, "filename": "x"}            => wrong-type/val 'val' must be an integer, not number
pmemsave {"val": 0}                                          => missing-member/size 'size' is missing
qom-list {"path": "/nowhere"}                                => DeviceNotFound/not-found/path there is no object '/nowhere' (qom-list shows what is below /machine)
qom-list                                                     => missing-member/path 'path' is missing
qom-list {"path": 5}                                         => wrong-type/path 'path' must be a string, not integer
qom-get {"path": "/machine/peripheral/vd", "property": "nothing"} => not-found/property object '/machine/peripheral/vd' has no property 'nothing' (qom-list*
qom-get {"path": "/machine/peripheral/nothing", "property": "type"} => DeviceNotFound/not-found/path there is no object '/machine/peripheral/nothing' (qom-list shows what*
qom-get {"path": "/machine"}                                 => missing-member/property 'property' is missing
qom-set {"path": "/machine/peripheral/vd", "property": "serial", "value": 5} => not-changeable/property property 'serial' of '/machine/peripheral/vd' cannot change any more*
qom-set {"path": "/machine/peripheral/vd", "property": "nothing", "value": 5} => not-found/property object '/machine/peripheral/vd' has no property 'nothing' (qom-list*
blockdev-add {"driver": "qcow2", "node-name": "a", "file": "free"} => failed/- 'free' is not a qcow2 image
blockdev-add {"driver": "qcow2", "node-name": "a", "file": {"driver": "raw", "file": "free"}} => failed/- 'free' is not a qcow2 image
qom-list-types {"implements": 5}                             => wrong-type/implements 'implements' must be a string, not integer
qom-list-types {"abstract": "yes"}                           => wrong-type/abstract 'abstract' must be true or false, not string
qom-list-properties {"typename": "nothing"}                  => DeviceNotFound/not-found/typename there is no type 'nothing'
device-list-properties {"typename": "nothing"}               => DeviceNotFound/not-found/typename there is no device 'nothing'
device-list-properties                                       => missing-member/typename 'typename' is missing
device-list-properties {"typename": "tcg-accel"}             => DeviceNotFound/not-found/typename there is no device 'tcg-accel'
device_add                                                   => failed/- 'driver' is missing: which device?
device_add {"driver": "nothing"}                             => DeviceNotFound/not-found/- 'nothing' is not a device this emulator has
device_add {"driver": "virtio-rng-pic"}                      => DeviceNotFound/not-found/- 'virtio-rng-pic' is not a device this emulator has (did you mean*
device_add {"driver": 5}                                     => failed/- 'driver' is missing: which device?
device_add {"driver": "isa-serial", "id": "vd"}              => failed/- there is already a device with id 'vd'*
device_add {"driver": "isa-serial", "nothing": 5}            => failed/- device 'isa-serial' has no property 'nothing' (-device*
device_add {"driver": "ICH9-LPC"}                            => failed/- device 'ICH9-LPC' is part of the board and cannot be added
device_add {"driver": "virtio-blk-pci", "drive": "nothing"}  => failed/- there is no drive or block node 'nothing'
device_del {"id": "nothing"}                                 => DeviceNotFound/not-found/- there is no device with id 'nothing'
device_del                                                   => missing-member/id 'id' is missing
object-add {"qom-type": "nothing", "id": "a"}                => invalid-value/qom-type 'qom-type' must be one of *
object-add {"qom-type": "iothread"}                          => missing-member/id 'id' is missing
object-add {"qom-type": "iothread", "id": "io"}              => failed/- there is already an iothread 'io'
object-add {"qom-type": "iothread", "id": "a", "poll-max-ns": -1} => out-of-range/poll-max-ns 'poll-max-ns' must be between 0 and 1000000000, not -1
object-add {"qom-type": "throttle-group", "id": "a", "limits": {"bps-total": 5, "bps-read": 5}} => failed/- throttle group 'a': bps-total and bps-read exclude each other
object-add {"qom-type": "memory-backend-ram", "id": "a", "size": 0} => out-of-range/size 'size' must be between 1 bytes and 8 EiB, not 0 bytes
object-add {"qom-type": "memory-backend-ram", "id": "a", "size": "1G"} => wrong-type/size 'size' must be an integer, not string
object-add {"qom-type": "memory-backend-file", "id": "a", "size": 4096, "mem-path": "/nonexistent/x"} => failed/- could not open '/nonexistent/x': No such file or directory (the*
object-add {"qom-type": "rng-random", "id": "a", "filename": "/nonexistent"} => failed/- 'a': cannot open '/nonexistent': No such file or directory (filename=*
object-del {"id": "nothing"}                                 => not-found/id there is no object with id 'nothing'
object-del                                                   => missing-member/id 'id' is missing
chardev-add                                                  => missing-member/id 'id' is missing
chardev-add {"id": "a", "backend": {"type": "nothing", "data": {}}} => invalid-value/backend.type 'backend.type' must be one of *
chardev-add {"id": "nil", "backend": {"type": "null", "data": {}}} => failed/- there is already a chardev with id 'nil'
chardev-add {"id": "a", "backend": {"type": "file", "data": {"out": "/nonexistent/x"}}} => failed/- could not open '/nonexistent/x' for writing: No such file or directory
chardev-add {"id": "a", "backend": {"type": "socket", "data": {"addr": {"type": "unix", "data": {}}}}} => missing-member/backend.data.addr.data.path 'backend.data.addr.data.path' is missing
chardev-add {"id": "a", "backend": {"type": "ringbuf", "data": {"size": 5}}} => failed/- ringbuf size 5 is not a power of two up to 1 GiB
chardev-add {"id": "a", "backend": {"type": "udp", "data": {"remote": {"type": "inet", "data": {"host": "a", "port": "1"}}}}} => invalid-value/backend.type 'backend.type' must be one of *
chardev-remove {"id": "nothing"}                             => failed/- there is no chardev with id 'nothing'
chardev-remove {"id": "compat_monitor0"}                     => failed/- chardev 'compat_monitor0' is in use by a QMP monitor
yank {"instances": [{"type": "chardev", "id": "nothing"}]}   => DeviceNotFound/not-found/- there is no chardev with id 'nothing' (query-yank lists what can be*
yank {"instances": 5}                                        => wrong-type/instances 'instances' must be a list, not integer
yank {"instances": [{"type": "nothing"}]}                    => invalid-value/instances.0.type 'instances.0.type' must be one of *
blockdev-add                                                 => missing-member/driver 'driver' is missing
blockdev-add {"driver": "nothing", "node-name": "a"}         => invalid-value/driver 'driver' must be one of *
blockdev-add {"driver": "null-co"}                           => failed/- 'node-name' is missing (it is the name that drive= of a -device takes)
blockdev-add {"driver": "null-co", "node-name": "disk"}      => failed/- node name 'disk' is in use
blockdev-add {"driver": "null-co", "node-name": "5"}         => failed/- '5' is not a valid node name (a name is a letter, then up to 30*
blockdev-add {"driver": "null-co", "node-name": "a", "size": -1} => invalid-value/size 'size' must not be negative
blockdev-add {"driver": "null-co", "node-name": "a", "nothing": 1} => unknown-member/nothing 'nothing' is unknown
blockdev-add {"driver": "file", "node-name": "a", "filename": "/nonexistent"} => failed/- cannot open '/nonexistent': No such file or directory
blockdev-add {"driver": "raw", "node-name": "a", "file": "nothing"} => failed/- 'file' of node 'a': there is no node 'nothing'
blockdev-add {"driver": "raw", "node-name": "a"}             => missing-member/file 'file' is missing
blockdev-del {"node-name": "nothing"}                        => failed/- there is no block node 'nothing'
blockdev-del {"node-name": "disk"}                           => failed/- block node 'disk' is in use (remove the device, the medium or the*
block_resize {"node-name": "disk", "size": -1}               => invalid-value/size size -1 is negative
block_resize {"size": 5}                                     => failed/- 'device' or 'node-name' is missing: which disk?
block_resize {"node-name": "nothing", "size": 512}           => failed/- there is no block node 'nothing'
block_set_io_throttle {"id": "nothing", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0} => DeviceNotFound/not-found/- there is no drive or device 'nothing'
block_set_io_throttle {"id": "vd", "bps": 5, "bps_rd": 5, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0} => failed/- bps and bps_rd exclude each other
block_set_io_throttle {"id": "vd"}                           => missing-member/bps 'bps' is missing
block-dirty-bitmap-add {"node": "nothing", "name": "b"}      => not-found/node there is no block node and no drive 'nothing'
block-dirty-bitmap-add {"node": "disk", "name": ""}          => failed/- a bitmap's name has 1 to 1023 bytes
block-dirty-bitmap-add {"node": "disk", "name": "b", "granularity": 3} => failed/- Granularity must be power of 2 and at least 512 (and at most 2G), not*
block-dirty-bitmap-remove {"node": "disk", "name": "b"}      => failed/- Dirty bitmap 'b' not found
block-dirty-bitmap-merge {"node": "disk", "target": "b", "bitmaps": []} => failed/- Dirty bitmap 'b' not found
blockdev-open-tray {"id": "nothing"}                         => DeviceNotFound/not-found/- there is no drive or device 'nothing'
blockdev-open-tray {"id": "vd"}                              => failed/- 'vd' has no removable medium
blockdev-open-tray                                           => missing-member/id 'id' is missing: which device?
blockdev-insert-medium {"id": "cd", "node-name": "free"}     => failed/- the tray of 'cd' is not open
blockdev-remove-medium {"id": "cd"}                          => failed/- the tray of 'cd' is not open
blockdev-change-medium {"id": "cd", "filename": "/nonexistent"} => failed/- cannot open '/nonexistent': No such file or directory
eject {"device": "nothing"}                                  => DeviceNotFound/not-found/- there is no drive or device 'nothing'
query-named-block-nodes {"flat": 5}                          => wrong-type/flat 'flat' must be true or false, not integer
block-latency-histogram-set {"id": "nothing"}                => DeviceNotFound/not-found/- there is no drive or device 'nothing'
nbd-server-stop                                              => failed/- the NBD server does not run (nbd-server-start starts it)
nbd-server-start {"addr": {"type": "nothing"}}               => invalid-value/addr.type 'addr.type' must be one of *
nbd-server-add {"device": "disk"}                            => failed/- the NBD server does not run (nbd-server-start starts it)
block-export-add {"type": "nbd", "id": "e", "node-name": "disk"} => failed/- the NBD server does not run (nbd-server-start starts it)
block-export-del {"id": "nothing"}                           => failed/- there is no export 'nothing'
send-key {"keys": [{"type": "qcode", "data": "nothing"}]}    => invalid-value/keys.0.data 'keys.0.data' must be one of *
send-key {"keys": 5}                                         => wrong-type/keys 'keys' must be a list, not integer
send-key {"keys": [{"type": "number", "data": 99999}]}       => invalid-value/keys.0.data the keyboard has no key with scan code 99999 (codes of set 1 are*
input-send-event {"events": [{"type": "nothing"}]}           => invalid-value/events.0.type 'events.0.type' must be one of *
query-cpu-model-expansion {"type": "static", "model": {"name": "nothing"}} => failed/- unknown CPU model 'nothing' ('-cpu help' lists the models)
query-cpu-model-expansion {"type": "nothing", "model": {"name": "max"}} => invalid-value/type 'type' must be one of *
query-vm-generation-id                                       => failed/- this machine has no VM generation ID (start it with -device vmgenid)
query-command-line-options {"option": "nothing"}             => not-found/option there is no option 'nothing' with parameters
netdev_add {"type": "nothing", "id": "n"}                    => invalid-value/type 'type' must be one of *
netdev_add {"type": "user"}                                  => missing-member/id 'id' is missing
netdev_add {"type": "user", "id": "n", "net": "1.2.3.4/99"}  => failed/- 'net' does not take '1.2.3.4/99': a prefix has 1 to 30 bits
netdev_del {"id": "nothing"}                                 => DeviceNotFound/not-found/- there is no network back end 'nothing'
set_link {"name": "nothing", "up": true}                     => DeviceNotFound/not-found/- there is no network card or back end 'nothing'
set_link {"name": "nothing"}                                 => missing-member/up 'up' is missing
query-rx-filter {"name": "nothing"}                          => DeviceNotFound/not-found/- there is no network card 'nothing'
announce-self {"initial": -1, "max": 5, "rounds": 5, "step": 5} => out-of-range/initial 'initial' must be between 1 and 100000, not -1
migrate-set-capabilities {"capabilities": [{"capability": "xbzrle", "state": true}]} => not-supported/capabilities.0 capability 'xbzrle' cannot be on: this machine cannot migrate*
migrate-set-capabilities {"capabilities": [{"capability": "nothing", "state": false}]} => invalid-value/capabilities.0.capability 'capabilities.0.capability' must be one of *
query-stats {"target": "nothing"}                            => invalid-value/target 'target' must be one of *
"""


def parse(line):
    call, expected = line.split("=>")
    name, _, arguments = call.strip().partition(" ")
    what, _, pattern = expected.strip().partition(" ")
    parts = what.split("/")
    cls, code, member = parts if len(parts) == 3 else ["GenericError"] + parts
    return name, json.loads(arguments) if arguments.strip() else None, cls, code, None if member == "-" else member, pattern.strip()


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
        fnmatch.fnmatchcase(e["desc"], pattern) and (not data.get("hint") or e["desc"].endswith(f"({data['hint']})"))
    return None if right else f"{name} {json.dumps(arguments)}\n  wanted {cls}/{code}/{member} {pattern}\n  got {json.dumps(m)}"


def wrong_calls():
    rows = [line for line in ROWS.strip().splitlines() if line]
    qmp.expect(len(rows) >= 100, f"the table has shrunk to {len(rows)} rows")
    with qmp.Vm(*MACHINE) as vm:
        c = qmp.Client(vm.path)
        bad = [b for b in (check(c, line) for line in rows) if b]
        qmp.expect(not bad, "\n".join(bad))
        qmp.expect(c.call("query-status")["status"] == "prelaunch", "it goes on")
    return f"{len(rows)} calls"


if __name__ == "__main__":
    rt.main(wrong_calls)
