#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Wrong command lines: each ends with status 1 and says on stderr what is wrong, with nothing on stdout.

A row is a command line, CODE/MEMBER (util/errorcode.c; what -msg x-rhea-code=on adds as a last line) and a pattern (fnmatch) for
the rest of stderr without the program's name; lines are joined by ' | ', those behind the first are the cure. Every refused option
of -help is tried too. tests/func/qmp_wrong.py does the same for the machine protocol.
"""
import fnmatch
import os
import re
import shlex
import subprocess
import sys

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
BIN = os.environ.get("RHEA_BIN") or os.path.join(BUILD, "tools/system/rhea-system-x86_64")
NAME = os.path.basename(BIN)
SLOW = float(os.environ.get("RHEA_TEST_SLOWDOWN", "1"))

ROWS = r"""
-foo                                => unknown-option/foo unknown option '-foo' | -help lists all options
-mashine pc                         => unknown-option/mashine unknown option '-mashine' | did you mean '-machine'?
--nograpic                          => unknown-option/nograpic unknown option '--nograpic' | did you mean '-nographic'?
-m                                  => missing-argument/m option '-m' needs an argument | usage: -m [[]size=[]]MEGS[[],slots=0[]][[],maxmem=MEGS[]]
disk.img                            => file-not-found/hda -hda disk.img: cannot open 'disk.img': No such file or directory | see whether the name is right: its folder must exist
-drive file=/nonexistent            => file-not-found/file -drive file=/nonexistent: cannot open '/nonexistent': No such file or directory | see whether the name is right: its folder must exist
-drive if=none,file=x,rerror=enospc => not-supported/rerror -drive if=none,file=x,rerror=enospc: rerror=enospc is not supported: reads need no space | use report, ignore or stop
-drive if=none,file=/dev/null,format=raw,stats-intervals.0=0 => out-of-range/stats-intervals *: stats-intervals.0=0 is no interval | give seconds: 1 to 4294967295
-drive flie=x                       => unknown-member/flie -drive flie=x: 'flie' is unknown | did you mean 'file'?
-blockdev null-co                   => missing-member/node-name -blockdev null-co: 'node-name' is missing | it is the name that drive= of a -device takes
-blockdev null-co,node-name=a -blockdev null-co,node-name=a => already-exists/node-name -blockdev null-co,node-name=a: node name 'a' is in use | give another name
-cdrom /nonexistent                 => file-not-found/cdrom -cdrom /nonexistent: cannot open '/nonexistent': No such file or directory | see whether the name is right: its folder must exist
-drive media=cdrom,index=2 -device ide-cd,bus=ide.1,unit=0 => in-use/unit *unit 0 of bus 'ide.1' is in use by*
-drive media=cdrom,format=raw       => conflict/drive -drive media=cdrom,format=raw: 'format' goes with file= only | leave it out, or give file=
-device ide-cd,drive=nothing        => not-found/drive *there is no drive or block node 'nothing'*
-device ide-hd                      => missing-member/drive *a disk needs an image: 'drive' is missing*
-device ide-cd,bootindex=1 -device ide-cd,bootindex=1 => already-exists/bootindex *bootindex=1 is that of 'ide-cd' already | each device needs another one; the smallest is tried first
-device ide-cd,bootindex=-2         => out-of-range/bootindex *'bootindex'*
-blockdev null-co,node-name=v,size=4096 -M pc,pflash1=v => missing-member/unit *there is flash for variables (unit 1), and none with firmware (unit 0)*
-blockdev null-co,node-name=c,size=65536 -M pc,pflash0=c -bios bios-256k.bin => conflict/bios *-bios bios-256k.bin and firmware in flash (if=pflash) exclude each other | leave one of them out
-blockdev null-co,node-name=c,size=16M -M q35,pflash0=c => too-large/pflash0 *the firmware's flash has more than 8 MiB, for which there is no room | name smaller images
-blockdev null-co,node-name=c,size=1000 -M q35,pflash0=c => too-large/drive *'pflash0': the image of a flash chip has 1000 bytes | 64 MiB at most, in multiples of 4 KiB
-M pc,pflash0=nothing               => not-found/drive *there is no drive or block node 'nothing' | query-named-block-nodes lists the nodes, query-block the drives
-M microvm -drive if=pflash,file=/dev/null => no-place/if *machine 'microvm' has no place for flash | machine types pc and q35 have two
-fda x                              => file-not-found/fda -fda x: cannot open 'x': No such file or directory | see whether the name is right: its folder must exist
-blockdev null-co,node-name=f,size=4M -device floppy,drive=f => too-large/drive *a floppy disk of 4194304 bytes does not fit in drive-type=auto | an image has 2880 KiB (1440 KiB, 1200 KiB) at most
-blockdev null-co,node-name=f,size=2880K -device floppy,drive=f,drive-type=144 => too-large/drive *a floppy disk of 2949120 bytes does not fit in drive-type=144*
-device floppy -device floppy,unit=0 => in-use/unit *unit 0 of bus 'floppy-bus.0' is in use by*
-device floppy,unit=2               => out-of-range/unit *unit 2 does not exist: bus 'floppy-bus.0' has two places | unit=0 is A, unit=1 is B
-m abc                              => invalid-value/size -m abc: 'size' is wrong: 'abc' is not a size | a size is a number with an optional suffix k, M, G, T, P or E
-m 0                                => out-of-range/size -m 0: 'size' must be between *, not 0 bytes
-m -5                               => invalid-value/size -m -5: 'size'*
-m 16P                              => out-of-range/size -m 16P: machine type 'pc-0.1' takes 1 MiB to 1048576 MiB | use another -m
-m 1G,slots=2,maxmem=2G             => not-supported/maxmem -m 1G,slots=2,maxmem=2G: memory cannot be plugged in yet | leave out slots= and maxmem=
-m 1G,slots=2                       => missing-member/maxmem -m 1G,slots=2: 'slots' needs 'maxmem' | leave out slots=
-m 1G,maxmem=512M                   => conflict/maxmem -m 1G,maxmem=512M: maxmem=512 MiB is below the size, 1 GiB | leave out slots= and maxmem=
-m 1G,maxmem=2G                     => conflict/slots -m 1G,maxmem=2G: maxmem=2 GiB is above the size, 1 GiB, and there are no slots | leave out slots= and maxmem=
-m 1G,maxmem=1G,slots=1             => conflict/slots -m 1G,maxmem=1G,slots=1: slots=1 and maxmem=1 GiB, which is the size, leave them empty | leave out slots= and maxmem=
-object foo                         => not-found/qom-type -object foo: unknown object type 'foo' | -object help lists the types
-object id=a                        => missing-member/qom-type -object id=a: 'qom-type' is missing | -object help lists the types
-object rng-egd,id=a                => not-supported/qom-type -object rng-egd,id=a: object 'rng-egd' is not supported: there is no such source | use rng-builtin, or rng-random,filename=FILE
-object rng-random,id=a,filename=/nowhere/at/all => file-not-found/object *'a': cannot open '/nowhere/at/all': No such file or directory | filename= names a file of random bytes; without it /dev/urandom is read
-object secret                      => missing-member/id -object secret: 'id' is missing*
-object secret,id=s                 => missing-member/data *: secret 's': 'data' or 'file' is needed | file= keeps the secret out of the list of processes
-object secret,id=s,file=/nowhere/at/all => file-not-found/object *: secret 's': could not open '/nowhere/at/all': No such file or directory | see whether the name is right: its folder must exist
-object secret,id=s,data=a,loaded=on => not-supported/loaded *: 'loaded' is not supported: the secret is read when the object is made; leave it out
-object secret,id=s,data=a,keyid=k,iv=AAECAwQFBgcICQoLDA0ODw== => not-found/keyid *: secret 's': 'keyid': there is no secret 'k' | make it before, with -object secret,id=k,file=FILE
-object secret,id=t,data=a -object iothread,id=t => already-exists/id *: there is already an object with id 't' | give another id, or remove that one: object-del
-object secret_keyring,id=s,serial=1 => not-supported/qom-type -object secret_keyring,id=s,serial=1: object 'secret_keyring' is not supported: the kernel's keyring is not asked | use secret,id=ID,file=FILE
-audiodev none                      => missing-member/id -audiodev none: 'id' is missing*
-audiodev id=a                      => missing-member/driver -audiodev id=a: 'driver' is missing*
-audiodev tape,id=a                 => invalid-value/driver -audiodev tape,id=a: 'driver' must be*'none'*'tape'*
-audiodev pipewire,id=a             => not-supported/driver -audiodev pipewire,id=a: driver 'pipewire' is not supported: QEMU 7.2 has none either | use pa, which PipeWire serves
-audiodev spice,id=a                => not-supported/driver -audiodev spice,id=a: driver 'spice' is not supported: there is no SPICE server | use pa or sdl
-audiodev wav,id=a,in.buffer-count=2 => unknown-member/in.buffer-count *'in.buffer-count' is unknown*
-audiodev wav,id=a,out.voices=2     => not-supported/out.voices *: 'out.voices': a driver has one stream, into which all that devices play is mixed | leave it out: any number of devices can play
-audiodev wav,id=a,out.frequency=999 => out-of-range/out.frequency *'out.frequency' must be*
-audiodev none,id=a,timer-period=0  => out-of-range/timer-period *'timer-period' must be*
-audiodev none,id=a,path=x          => unknown-member/path -audiodev none,id=a,path=x: 'path' is unknown*
-audiodev none,id=a,timer-period=5000000000 => out-of-range/timer-period *'timer-period' must be*
-audiodev none,id=a,out.format=s24  => invalid-value/out.format *'out.format'*'s24'*
-audiodev none,id=a,in.voices=0     => out-of-range/in.voices *'in.voices' must be*
-audiodev none,id=a,in.fixed-settings=off,in.channels=2 => conflict/in *: 'in': frequency, channels and format are the stream's with fixed-settings=off | leave them out, or use fixed-settings=on
-audiodev none,id=a,out.mixing-engine=off,out.fixed-settings=on => conflict/out *: 'out': fixed-settings=on needs mixing-engine=on | leave out one of them
-audio none                         => missing-member/model -audio none: 'model' is missing | model=help lists the sound cards; -audiodev makes a back end without one
-audio none,model=gus               => not-found/model *: there is no sound card 'gus' | model=help lists them
-audio tape,model=ac97              => invalid-value/driver *'driver' must be*'none'*'tape'*
-audio none,id=1,model=ac97         => invalid-value/id *: id '1' is not a name*
-audio none,model=ac97,path=x       => unknown-member/path *'path' is unknown*
-soundhw ac97                       => not-supported/soundhw option '-soundhw' is not supported yet: QEMU 7.1 removed it; use -audio DRIVER,model=ac97 or hda
-device AC97,audiodev=a             => not-found/audiodev *there is no audiodev 'a' | make it with -audiodev none,id=a; -audiodev help lists the drivers
-audiodev wav,id=a,path=/ -device AC97,audiodev=a => invalid-value/device *: audiodev 'a': cannot write '/': Is a directory | path= names the WAV file
-M pc,pcspk-audiodev=a              => not-found/audiodev *there is no audiodev 'a' | make it with -audiodev none,id=a; -audiodev help lists the drivers
-audiodev none,id=a -M pc,pit=off,pcspk-audiodev=a => conflict/pcspk-audiodev pcspk-audiodev=a: there is no speaker with pit=off | leave out one of them
-audiodev none,id=a -audiodev none,id=a => already-exists/id -audiodev none,id=a: there is already an audiodev 'a' | give another id
-device virtio-rng-pci,rng=a        => not-found/device *there is no rng 'a' | make it with -object rng-random,id=a,filename=FILE, or leave rng= out
-device virtio-rng-pci,max-bytes=0  => out-of-range/max-bytes *'max-bytes'*
-object throttle-group              => missing-member/id -object throttle-group: 'id' is missing*
-object throttle-group,id=t,x-bps-total=1,limits.bps-total=1 => conflict/object *: x-bps-total and limits.bps-total are the same | leave out one of them
-object throttle-group,id=t,x-iops-total-max=5 => missing-member/object *: throttle group 't': iops-total: a burst needs the limit that it exceeds | give the limit as well, or leave out the burst
-object throttle-group,id=t -object throttle-group,id=t => already-exists/id *: there is already an object with id 't' | give another id, or remove that one: object-del
-object iothread,id=1               => invalid-value/id *: id '1' is not a name* | such as obj0
-object iothread,id=t -object iothread,id=t => already-exists/id *: there is already an object with id 't' | give another id, or remove that one: object-del
-object iothread,id=t -object throttle-group,id=t => already-exists/id *: there is already an object with id 't' | give another id, or remove that one: object-del
-object iothread,id=t,aio-max-batch=1 => not-supported/aio-max-batch *: 'aio-max-batch' is not supported: requests reach the kernel as they come; leave it out
-icount shift=3 -object iothread,id=t => conflict/id *: 't': -icount has one thread do everything, so that each run is the same | leave out the iothread, and iothread= of devices
-device virtserialport              => no-place/driver -device virtserialport: board 'pc-0.1' has no virtio-serial-bus bus * | add one first: -device virtio-serial-pci (*
-device virtio-serial-pci,id=a -device virtconsole,bus=b.0 => not-found/bus *: there is no bus 'b.0' for device 'virtconsole' | add one first: *
-device virtio-serial-pci,id=a -device virtconsole,bus=a.0,nr=31 => out-of-range/nr *: device 'virtconsole': nr=31: bus 'a.0' has ports 0 to 30 | *
-device virtio-blk-pci,iothread=t   => not-found/iothread -device virtio-blk-pci,iothread=t: there is no iothread 't' | make it with -object iothread,id=t
-drive if=none,id=d,file=/dev/null,format=raw,throttling.group=t => missing-member/throttling.group *the group 't' has no limits | give some: throttling.bps-total=N,... or -object throttle-group,id=t,...
-object memory-backend-epc,id=a     => not-supported/qom-type *object 'memory-backend-epc' is not supported: there are no SGX enclaves | use memory-backend-ram
-object memory-backend-ram,id=a,size=64M,foo=1 => unknown-member/foo *: 'foo' is unknown*
-object memory-backend-ram,id=a,size=64M,policy=bind => conflict/object *: policy=bind needs 'host-nodes' | host-nodes=0, or another of the host's nodes
-object memory-backend-file,id=a,size=64M,mem-path=/nonexistent/x => file-not-found/object *: could not open '/nonexistent/x': No such file or directory | the folder must exist
-object memory-backend-ram,id=a,size=64M -object memory-backend-ram,id=a,size=64M => already-exists/id *: there is already an object with id 'a' | give another id, or remove that one: object-del
-machine memory-backend=b           => not-found/machine -machine memory-backend=b: there is no memory backend with id 'b' | -object memory-backend-ram,id=b,size=SIZE makes one
-m 65 -object memory-backend-ram,id=a,size=64M -machine memory-backend=a => conflict/size -m 65: memory backend 'a' has 64 MiB | both sizes must be the same; without -m the backend's counts
-mem-path /tmp -machine memory-backend=a => conflict/mem-path -mem-path /tmp does not go with -machine memory-backend=a | a memory-backend-file has mem-path=
-mem-path /nonexistent/x            => file-not-found/mem-path -mem-path /nonexistent/x: could not open '/nonexistent/x': No such file or directory | the folder must exist
-numa foo                           => invalid-value/type -numa foo: 'type' must be one of 'node', 'cpu', 'dist', 'hmat-lb', 'hmat-cache', not 'foo'
-numa node                          => conflict/memdev -numa: the NUMA nodes have nothing of memory, the machine 128 MiB | give nodes a memdev= each, of the size of -m together
-numa node,mem=128M                 => not-supported/mem -numa node,mem=128M: 'mem' is not supported: memory is given as an object; use memdev= and -object memory-backend-ram
-numa node,initiator=0              => not-supported/initiator -numa node,initiator=0: 'initiator' is not supported: there is no table of memory attributes (HMAT); leave it out
-numa hmat-lb,initiator=0,target=0  => not-supported/type -numa hmat-lb,initiator=0,target=0: 'hmat-lb' is not supported: there is no table of memory attributes (HMAT) | -numa dist tells the guest how far nodes are from each other
-numa hmat-cache,node-id=0          => not-supported/type *: 'hmat-cache' is not supported: there is no table of memory attributes (HMAT) | *
-numa node,memdev=a                 => not-found/numa -numa node,memdev=a: there is no memory backend with id 'a' | -object memory-backend-ram,id=a,size=SIZE makes one
-numa cpu,node-id=0,socket-id=0     => not-found/numa -numa cpu,node-id=0,socket-id=0: there is no NUMA node 0 | -numa node,nodeid=0 makes one
-numa node,cpus=x                   => invalid-value/cpus -numa node,cpus=x: 'cpus' is neither a number nor a range | cpus=0 or cpus=0-3, several times if need be
-numa node,cpus=0 -numa node,cpus=0 => already-exists/cpus -numa node,cpus=0: CPU 0 belongs to NUMA node 0 already | name each CPU once
-numa node,nodeid=1,cpus=1          => out-of-range/cpus -numa node,nodeid=1,cpus=1: there is no CPU 1, the last is 0 | -smp says how many there are
-numa node -numa dist,src=0,dst=1,val=20 => not-found/numa -numa dist,src=0,dst=1,val=20: there is no NUMA node 1 | -numa node,nodeid=1 makes one
-numa node -machine memory-backend=a => conflict/machine -machine memory-backend a does not go with -numa | memory is given to nodes: -numa node,memdev=ID
-numa node -mem-path /tmp           => conflict/mem-path -mem-path /tmp does not go with -numa | memory is given to nodes: -numa node,memdev=ID
-M none -accel test -numa node      => not-supported/numa -numa: machine type 'none' has no NUMA nodes | leave it out, or use -machine pc
-object memory-backend-ram,id=a,size=64M -numa node,memdev=a -numa node,memdev=a => in-use/numa *: memory backend 'a' is used already, by a -numa node | each use needs a backend of its own
-overcommit mem-lock=maybe          => invalid-value/mem-lock -overcommit mem-lock=maybe: 'mem-lock': 'maybe' is not a switch | use 'on' or 'off'
-M none -accel test -mem-prealloc   => no-place/mem-prealloc -mem-prealloc: machine type 'none' has no memory | use -m
-smp 0                              => out-of-range/cpus -smp 0: 'cpus' must be between 1 and 4096, not 0
-smp 300                            => out-of-range/cpus machine 'pc-0.1' takes at most 255 CPUs, 300 are asked for | use a smaller -smp, or another machine type
-smp 1,maxcpus=300                  => out-of-range/cpus machine 'pc-0.1' takes at most 255 CPUs, 300 are asked for | use a smaller -smp, or another machine type
-smp 250,cores=50                   => out-of-range/smp -smp: the last CPU would have APIC id 305, and the firmware reaches ids below 255 only | use fewer CPUs, or numbers of cores and threads that are powers of two
-smp 4,maxcpus=2                    => conflict/maxcpus -smp 4,maxcpus=2: cpus=4 is above maxcpus=2 | leave maxcpus out, or make it as large
-smp 2,sockets=3                    => conflict/sockets -smp 2,sockets=3: 3 sockets * 1 dies * 1 cores * 1 threads is not the number of CPUs, 2 | leave some of them out: they follow from the others
-icount 11                          => invalid-value/shift -icount 11: 'shift' must be 'auto' or between 0 and 10, not '11'
-icount align=on                    => missing-member/shift -icount align=on: 'shift' is missing | shift=N: an instruction takes 2^N ns; shift=auto adapts N to the host's speed
-icount shift=auto,sleep=off        => conflict/sleep -icount shift=auto,sleep=off: sleep=off is not possible with shift=auto, which follows the host's time | give shift a number
-icount shift=auto,align=on         => conflict/align -icount shift=auto,align=on: align=on is not possible with shift=auto | give shift a number
-icount shift=3,align=on,sleep=off  => conflict/align -icount shift=3,align=on,sleep=off: align=on is not possible with sleep=off | leave out sleep=off
-icount shift=3,rr=record,rrfile=x  => not-supported/rr -icount shift=3,rr=record,rrfile=x: 'rr' is not possible: input is neither recorded nor replayed | a run without input repeats itself with -icount shift=N -seed N -rtc base=DATE,clock=vm
-icount 3 -accel test               => conflict/accel -icount: accelerator 'test' does not count instructions | use -accel tcg
-icount 3 -accel tcg,thread=multi   => conflict/thread accelerator 'tcg': 'thread=multi' is not possible with -icount, which counts in one thread | leave out thread=multi
-smp cpu=1                          => unknown-member/cpu -smp cpu=1: 'cpu' is unknown | did you mean 'cpus'?
-cpu foo                            => not-found/cpu *unknown CPU model 'foo'*
-cpu qemu64,+nosuch                 => unknown-member/nosuch *unknown feature or property 'nosuch'*
-M foo                              => not-found/type -M foo: unknown machine type 'foo' | -machine help lists the types
-M none1                            => not-found/type -M none1: unknown machine type 'none1' | did you mean 'none'?
-M microvm,pcie=on                  => not-supported/machine -machine pcie=on: this board has no PCI | leave pcie out; virtio devices end in -device
-M microvm,ioapic2=on               => not-supported/machine -machine ioapic2=on: there is one I/O APIC, with eight inputs for virtio devices | leave ioapic2 out
-M microvm,usb=on                   => not-supported/machine -machine usb=on: there is no USB controller | leave usb out or set usb=off
-M microvm,smm=on                   => not-supported/machine -machine smm=on: nothing on this board asserts SMI# | leave smm out or set smm=off
-M microvm,pic=off,acpi=off         => not-supported/machine -machine pic=off: guests without ACPI need the 8259s for the timer | use acpi=on, or leave pic out
-M microvm,hpet=on                  => unknown-member/hpet -machine: machine type 'microvm' has no property 'hpet'*
-M microvm -boot menu=on            => not-supported/boot -boot: machine type 'microvm' starts a kernel, there is nothing to choose from | leave it out, or use -machine pc
-M microvm -smbios type=0           => not-supported/smbios -smbios: machine type 'microvm' has no SMBIOS tables | leave it out, or use -machine pc
-M microvm,acpi=off -object memory-backend-ram,id=a,size=64M -numa node,memdev=a => not-supported/numa -numa: the guest is told of NUMA nodes by ACPI, and acpi=off is given | use acpi=on
-M microvm -kernel /etc/hostname    => invalid-value/kernel -kernel file '/etc/hostname' is not a kernel: no Linux boot header, no Multiboot header, not ELF*
-M microvm,x-option-roms=off -bios bios-microvm.bin -kernel /etc/hostname => conflict/x-option-roms -machine x-option-roms=off: with -bios the kernel is loaded by an option ROM | *
-M microvm -serial null -serial null => too-many/serial 2 serial ports asked for; the board has a place for one | use fewer -serial options, or -device isa-serial
-M microvm -device virtio-blk-pci,drive=x => no-place/driver -device virtio-blk-pci,drive=x: *board 'microvm' has no PCI bus for device 'virtio-blk-pci'*
-M microvm -blockdev null-co,node-name=n -device virtio-blk-device,drive=n,packed=on => conflict/packed *: packed=on: drivers of the legacy interface know nothing of it | -global virtio-mmio.force-legacy=off gives the interface of virtio 1.0
-M microvm -hda /etc/hostname       => not-found/bus *'ide-hd'*
-M microvm -append x                => missing-member/kernel -append goes with -kernel only | add -kernel FILE, or leave it out
-M pc -device virtio-blk-device     => no-place/driver -device virtio-blk-device: *board 'pc-0.1' has no virtio-mmio-bus bus for device 'virtio-blk-device'*
-M pc,foo=1                         => unknown-member/foo -machine: machine type 'pc-0.1' has no property 'foo'
-M pc,hpte=on                       => unknown-member/hpte -machine: machine type 'pc-0.1' has no property 'hpte' | did you mean 'hpet'?
-M pc,hpet=maybe                    => invalid-value/hpet -machine: *hpet*maybe*
-M none -kernel /etc/hostname       => not-supported/kernel -kernel: machine type 'none' has nothing that could use it | leave it out, or use -machine pc
-M none -bios bios.bin              => not-supported/bios -bios: machine type 'none' has nothing that could use it | leave it out, or use -machine pc
-M none -smbios type=0              => not-supported/smbios -smbios: machine type 'none' has nothing that could use it | leave it out, or use -machine pc
-M none -boot menu=on               => not-supported/boot -boot: machine type 'none' has nothing that could use it | leave it out, or use -machine pc
-M none,usb=on                      => not-supported/machine -machine usb=on: machine type 'none' has nothing that could use it | leave it out, or use -machine pc
-M none -smp 2                      => out-of-range/cpus machine 'none' takes at most 1 CPUs, 2 are asked for | use a smaller -smp, or another machine type
-M none -no-hpet                    => unknown-member/hpet -machine: machine type 'none' has no property 'hpet'
-M none -cpu max                    => no-cpu/cpu machine 'none' has no CPU, so -cpu max has no meaning | leave it out, or use -machine pc
-accel foo                          => not-found/accel -accel foo: unknown accelerator 'foo' | -accel help lists them
-accel tgc                          => not-found/accel -accel tgc: unknown accelerator 'tgc' | did you mean 'tcg'?
-accel kvm,foo=1                    => unknown-member/foo *'kvm'*
-accel kvm,dirty-ring-size=-1       => invalid-value/dirty-ring-size *'dirty-ring-size'*
-accel kvm,kernel-irqchip=maybe     => invalid-value/kernel-irqchip *property 'kernel-irqchip' does not accept 'maybe' | possible values: auto, on, off, split
-accel kvm -icount 3                => conflict/accel *'kvm'*
-M pc,kernel_irqchip=on -accel tcg  => not-supported/kernel-irqchip -machine kernel-irqchip=on: accelerator 'tcg' has no interrupt controllers in the kernel | leave it out, or use -accel kvm
-M pc,accel=hvf                     => not-supported/accel -machine hvf: accelerator 'hvf' is not available: it needs macOS | use -accel tcg
-accel tcg,tier=0,lockstep=on       => conflict/accel accelerator 'tcg': 'lockstep=on' has no meaning with tier=0, which runs in tier 0 alone | leave out one of the two
-accel tcg,tier=0,chaos=1           => conflict/accel accelerator 'tcg': 'chaos' has no meaning with tier=0, which runs in tier 0 alone | leave out one of the two
-accel tcg,tier=0,tb-size=8         => conflict/accel accelerator 'tcg': 'tb-size' has no meaning with tier=0, which runs in tier 0 alone | leave out one of the two
-accel tcg,thread=single,perf-map=on => conflict/accel accelerator 'tcg': 'perf-map=on' has no meaning with thread=single, which runs in tier 0 alone | leave out one of the two
-icount 3 -accel tcg,lockstep=on    => conflict/accel accelerator 'tcg': 'lockstep=on' has no meaning with -icount, which runs in tier 0 alone | leave out one of the two
-accel tcg,chaos=1,tb-size=8        => conflict/tb-size accelerator 'tcg': 'tb-size' is not possible with 'chaos', which uses a small cache | leave out tb-size
-accel tcg,chaos=1,lockstep=on      => conflict/lockstep accelerator 'tcg': 'lockstep=on' is not possible with 'chaos', which leaves units half way | run them one after the other
-smp 2 -accel tcg,lockstep=on       => conflict/lockstep accelerator 'tcg': 'lockstep=on' runs code twice, and 2 CPUs would see each other's memory change in between | use -smp 1
-accel tcg,tb-size=4G               => out-of-range/tb-size *tb-size*
-accel tcg,foo=1                    => unknown-member/foo -accel tcg,foo=1: accelerator 'tcg' has no property 'foo'*
-device foo                         => not-found/driver -device foo: 'foo' is not a device this emulator has | -device help lists those it has
-device isa-serail                  => not-found/driver -device isa-serail: 'isa-serail' is not a device this emulator has | did you mean 'isa-serial'?
-M microvm -device virtio-gpu       => no-place/driver -device virtio-gpu: *device 'virtio-gpu-pci'*
-device vmgenid -device vmgenid     => already-exists/driver -device vmgenid: device 'vmgenid': there is already a vmgenid: a machine has one at most | leave one of them out
-device vmgenid -machine acpi=off   => conflict/acpi *device 'vmgenid': guests find it by ACPI, which this machine has not | leave out vmgenid or acpi=off
-M microvm -device vmgenid          => not-supported/driver *device 'vmgenid': machine type 'microvm' has no firmware that could place it | use -machine pc or q35
-M none -device vmcoreinfo          => no-place/driver -device vmcoreinfo: board 'none' has no FW-CFG bus for device 'vmcoreinfo'*
-device isa-serial,foo=1            => unknown-member/foo -device isa-serial,foo=1: device 'isa-serial' has no property 'foo' | -device isa-serial,help lists its properties
-device isa-serial,chardev=zz       => not-found/chardev -device isa-serial,chardev=zz: there is no chardev with id 'zz' | query-chardev lists them; -chardev and chardev-add make one
-device isa-serial,irq=99           => out-of-range/irq -device isa-serial,irq=99: *irq 99*0 to 15
-device isa-serial,bus=pci.0        => invalid-value/bus -device isa-serial,bus=pci.0: bus 'pci.0' is no place for device 'isa-serial'*
-device isa-serial,bus=isa.7        => not-found/bus -device isa-serial,bus=isa.7: there is no bus 'isa.7' for device 'isa-serial'*
-M none -accel test -device isa-serial => no-place/driver -device isa-serial: board 'none' has no ISA bus for device 'isa-serial'*
-device isa-debug-exit,id=a -device isa-serial,id=a => already-exists/id -device isa-serial,id=a: there is already a device with id 'a' | give another id; one that is removed is free again after DEVICE_DELETED
-device '{"driver":1}'              => missing-member/driver -device {"driver":1}: 'driver' is missing: which device? | -device help lists the devices
-device '{bad'                      => invalid-json/device -device {bad: invalid JSON at line 1 column 2*
-serial foo                         => invalid-value/backend -serial foo: 'backend' must be one of *, not 'foo'*
-serial vc:80                       => invalid-syntax/serial -serial vc:80: 'vc:80' is not a width and a height | for example vc:640x384 or vc:80Cx24C
-chardev vc,id=a,cols=9,width=80    => conflict/width -chardev vc,id=a,cols=9,width=80: the size is given twice*
-chardev vc,id=a,rows=9999          => out-of-range/rows -chardev vc,id=a,rows=9999: *between 2 and 256*
-serial file:/nonexistent/x         => file-not-found/serial -serial file:/nonexistent/x: could not open '/nonexistent/x' for writing: No such file or directory | see whether the name is right: its folder must exist
-serial chardev:x                   => not-found/serial -serial chardev:x: there is no chardev with id 'x' | query-chardev lists them; -chardev and chardev-add make one
-serial tcp:nowhere                 => invalid-syntax/serial -serial tcp:nowhere: 'nowhere' is not HOST:PORT | for example localhost:4444
-serial telnet::4444,server         => not-supported/serial -serial telnet::4444,server: 'telnet::4444,server': neither telnet nor websocket is supported*
-serial stdio -monitor stdio        => in-use/monitor -monitor stdio: stdio is already used by chardev 'serial0' | share it: -chardev stdio,id=ID,mux=on and chardev:ID, or mon:stdio
-serial null -serial null -serial null -serial null -serial null => too-many/serial 5 serial ports asked for; the board has places for 4 | use fewer -serial options
-chardev null,id=a -serial chardev:a -monitor chardev:a => in-use/chardev *chardev 'a' is already in use by a monitor*mux=on*
-chardev null,id=a -monitor chardev:a -serial chardev:a => in-use/chardev *chardev 'a' is already in use by a monitor*mux=on*
-chardev stdio                      => missing-member/id -chardev stdio: 'id' is missing | give it: the name that front ends refer to
-chardev socket,id=a                => missing-member/path -chardev socket,id=a: 'path' (unix), 'port' (TCP) or 'fd' is missing | path=FILE is a unix socket, host=HOST,port=PORT a TCP one
-chardev foo,id=a                   => invalid-value/backend -chardev foo,id=a: 'backend' must be one of *, not 'foo'*
-chardev udp,id=a,port=1            => not-supported/backend -chardev udp,id=a,port=1: chardev backend 'udp' is not supported: there are no datagram chardevs yet | use socket
-chardev null,id=a -chardev null,id=a => already-exists/id -chardev null,id=a: there is already a chardev with id 'a' | give another id, or remove that one: chardev-remove
-chardev null,id=a,lgfile=x         => unknown-member/lgfile -chardev null,id=a,lgfile=x: 'lgfile' is unknown | did you mean 'logfile'?
-monitor chardev:x                  => not-found/monitor -monitor chardev:x: there is no chardev with id 'x' | query-chardev lists them; -chardev and chardev-add make one
-mon nope                           => not-found/chardev -mon nope: there is no chardev with id 'nope' | -chardev makes it
-chardev null,id=a,mux=on -mon a,mode=control => conflict/chardev -mon a: chardev 'a' is shared (mux=on), which QMP cannot be | use a chardev without mux=on
-chardev null,id=a -mon a,pretty=on => conflict/pretty -mon a,pretty=on: 'pretty' goes with mode=control only | leave it out, or use mode=control
-add-fd set=1,fd=987                => not-found/fd -add-fd set=1,fd=987: descriptor 987 is not open | open it in the parent, without close-on-exec
-add-fd set=1,fd=2                  => out-of-range/fd -add-fd set=1,fd=2: 'fd' must be between 3 and 2147483647, not 2
-chardev file,id=a,path=/dev/fdset/4 => file-not-found/path -chardev file,id=a,path=/dev/fdset/4: could not open '/dev/fdset/4' for writing: No such file or directory | there is no descriptor set 4; add-fd makes one
-qmp chardev:x                      => not-found/qmp -qmp chardev:x: there is no chardev with id 'x' | query-chardev lists them; -chardev and chardev-add make one
-chardev null,id=a -qmp chardev:a -qmp-pretty chardev:a => in-use/chardev -qmp-pretty chardev:a: chardev 'a' is already in use by a QMP monitor | mux=on lets up to 4 front ends share a chardev
-debugcon chardev:zz                => not-found/debugcon -debugcon chardev:zz: there is no chardev with id 'zz' | query-chardev lists them; -chardev and chardev-add make one
-accel tcg -qtest null              => conflict/qtest -qtest null: the qtest protocol drives -accel test only, not 'tcg' | use -accel test, or leave -qtest out
-M none -s                          => no-cpu/s -s : machine 'none' has no CPU to debug | use a machine type that has one, such as pc
-accel test -gdb tcp::0             => not-supported/gdb -gdb tcp::0: accelerator 'test' cannot stop guest code for a debugger | use -accel tcg
-accel tcg -gdb tcp:1234            => invalid-syntax/gdb -gdb tcp:1234: *
-accel tcg -gdb foo                 => invalid-value/backend -gdb foo: *
-accel tcg -gdb chardev:x           => not-found/gdb -gdb chardev:x: there is no chardev with id 'x' | query-chardev lists them; -chardev and chardev-add make one
-accel tcg -chardev null,id=a -serial chardev:a -gdb chardev:a => in-use/chardev -gdb chardev:a: chardev 'a' is already in use by *
-accel tcg -gdb unix:/nonexistent/s,server=on => file-not-found/gdb -gdb unix:/nonexistent/s,server=on: *
-qtest-log x                        => not-supported/qtest-log -qtest-log x: the qtest protocol is not logged | use none, and log at the client
-parallel stdio                     => not-supported/parallel -parallel stdio: parallel port 'stdio' is not supported yet: there is no parallel port | use -parallel none, or -serial
-kernel /nonexistent                => file-not-found/kernel *-kernel*/nonexistent*No such file*
-initrd /x                          => missing-member/kernel -initrd goes with -kernel only | add -kernel FILE, or leave it out
-append x                           => missing-member/kernel -append goes with -kernel only | add -kernel FILE, or leave it out
-bios nope.bin                      => file-not-found/bios -bios nope.bin: firmware file 'nope.bin' not found in *
-display foo                        => not-found/type -display foo: unknown display 'foo' | -display help lists them
-display sld                        => not-found/type -display sld: unknown display 'sld' | did you mean 'sdl'?
-display sdl,gl=on                  => not-supported/gl -display sdl,gl=on: gl=on is not supported: pictures are drawn by the CPU | leave it out
-display sdl,grab-mod=x             => invalid-value/grab-mod -display sdl,grab-mod=x: 'grab-mod' must be one of 'lctrl-lalt', 'lshift-lctrl-lalt', 'rctrl', not 'x'
-display curses                     => invalid-value/type -display curses: standard input is no terminal | start it in a terminal without redirection, or use -nographic, or -vnc
-display curses -nographic          => conflict/nographic -display curses: -nographic has the serial port and the monitor on this terminal | leave one out
-display curses,show-cursor=on      => not-supported/show-cursor -display curses: 'show-cursor' is not supported: a terminal has no windows | leave it out, or use -display sdl
-display gtk                        => not-supported/type -display gtk: display 'gtk' is not supported: windows are SDL's | use -display none, sdl where there is a desktop, or -nographic for a serial console here
-vga foo                            => not-found/vga -vga foo: unknown graphics card 'foo' | use -vga std, or -vga none
-vga vmware                         => not-supported/vga -vga vmware: graphics card 'vmware' is not supported: VMware's card is not emulated | use -vga std
-vga std -M microvm                 => no-place/vga -vga std: machine type 'microvm' has no place for a graphics card | use -machine pc or q35, or -vga none
-net tap,vhostforce=on              => not-supported/vhostforce -net tap,vhostforce=on: 'vhostforce' is not supported: the card's queues are served by this program | leave it out; checksums and segmentation are left to the host without it, too
-net tap,fds=0:1,script=no          => conflict/ifname -net tap,fds=0:1,script=no: 'ifname', 'script', 'downscript', 'vnet_hdr' and 'queues' do not go with 'fds' | they are for an interface that this program makes
-nic tap,vhost=off,vhostfd=0        => conflict/vhostfd -nic tap,vhost=off,vhostfd=0: 'vhostfd' and 'vhostfds' do not go with vhost=off | leave it out
-netdev tap,id=n,fd=0               => invalid-value/fd -netdev tap,id=n,fd=0: 'fd' does not take '0': it is no tap interface | one that was opened at /dev/net/tun with IFF_TAP
-netdev tap,id=n,helper=/bin/false  => failed/helper -netdev tap,id=n,helper=/bin/false: '/bin/false' ended with status 1 | bridge helpers want 'allow br0' in /etc/qemu/bridge.conf, and root's rights (setuid)
-netdev tap,id=n,script=/nonexistent => file-not-found/script -netdev tap,id=n,script=/nonexistent: script '/nonexistent' cannot be started: No such file or directory | script=no for an interface that is set up otherwise
-netdev socket,id=n                 => missing-member/listen -netdev socket,id=n: none of 'fd', 'listen', 'connect', 'mcast' and 'udp' is given | exactly one says what kind of socket it is
-netdev dgram,id=n                  => missing-member/local -netdev dgram,id=n: 'local' is missing: where do frames come in? | *
-netdev stream,id=n,addr.type=unix,addr.path=/x,server=on,reconnect=1 => conflict/reconnect -netdev stream,id=n,addr.type=unix,addr.path=/x,server=on,reconnect=1: 'reconnect' is for clients that connect to a name or an address | a server waits for the next client anyway
-nic foo                            => invalid-value/type -nic foo: 'type' must be one of 'user', *
-nic none -nic user                 => conflict/type -nic none and a card exclude each other | leave out one of them
-nic user,model=foo                 => not-found/model -nic user,model=foo: there is no network card 'foo' | model=help lists them
-nic user,model=isa-serial          => invalid-value/model -nic user,model=isa-serial: 'isa-serial' is no network card | model=help lists them
-nic user,mac=1:2:3                 => invalid-value/mac -nic user,mac=1:2:3: property 'mac': '1:2:3' is not a network card's address | it looks like 52:54:00:12:34:56
-M none -nic user                   => no-place/nic -nic user: machine type 'none' has no place for a network card | use -machine pc or q35, or leave it out
-netdev x-rhea-switch,id=n          => missing-member/name -netdev x-rhea-switch,id=n: 'name' is missing | *
-netdev x-rhea-switch,id=n,name=a/b => invalid-value/name -netdev x-rhea-switch,id=n,name=a/b: 'name' does not take 'a/b' | letters, digits, '-', '.' and '_' make a name
-netdev passt,id=n,path=/x          => file-not-found/path -netdev passt,id=n,path=/x: there is no program '/x' | install the package passt, name the program with path=, or use user
-netdev passt,id=n,fqdn=x           => not-supported/fqdn -netdev passt,id=n,fqdn=x: 'fqdn' is not supported: the passt of 2023 has none; a newer one takes it by param=
-netdev passt,id=n,path=sh,mtu=70000 => out-of-range/mtu -netdev passt,id=n,path=sh,mtu=70000: 'mtu' must be *
-netdev passt,id=n,ipv4=off,ipv6=off => conflict/ipv6 -netdev passt,id=n,ipv4=off,ipv6=off: 'ipv4' and 'ipv6' are both off: nothing is left | leave one of them on
-netdev passt,id=n,path=false       => failed/path -netdev passt,id=n,path=false: '*false' ended with status 1 | passt(1) says what it takes and what it needs
-sandbox on -netdev passt,id=n,path=sh => not-supported/type -netdev passt,id=n,path=sh: passt is not supported below -sandbox, which would filter it, too | start passt before, and use stream,addr.type=unix,addr.path=PATH
-sandbox on -netdev bridge,id=n,helper=/bin/true => permission-denied/helper -netdev bridge,id=n,helper=/bin/true: '/bin/true' must not be started: -sandbox forbids programs | *
-netdev user                        => missing-member/id -netdev user: 'id' is missing | give it: the name that a network card's netdev= refers to
-netdev user,id=n -netdev user,id=n => already-exists/id -netdev user,id=n: there is already a network back end or card 'n' | give another id, or remove that one: netdev_del
-netdev user,id=n,smb=/nonexistent  => file-not-found/smb -netdev user,id=n,smb=/nonexistent: 'smb' does not take '/nonexistent': No such file or directory | create it first
-netdev user,id=n,smb=/dev/null     => file-not-found/smb -netdev user,id=n,smb=/dev/null: 'smb' does not take '/dev/null': it is no folder | create it first
-netdev user,id=n,smbserver=10.0.2.4 => conflict/smbserver -netdev user,id=n,smbserver=10.0.2.4: 'smbserver' is the address of a server that 'smb' would make | give smb=FOLDER, too
-sandbox on -netdev user,id=n,guestfwd=tcp:10.0.2.100:7-cmd:/bin/cat => permission-denied/guestfwd -netdev user,id=n,guestfwd=tcp:10.0.2.100:7-cmd:/bin/cat: guestfwd=tcp:10.0.2.100:7-cmd:/bin/cat: '/bin/cat' must not be started: -sandbox forbids programs | -sandbox on,spawn=allow permits them
-sandbox on -netdev user,id=n,smb=/ => not-supported/smb -netdev user,id=n,smb=/: 'smb' is not supported below -sandbox, which forbids the program smbd or filters it | *
-chroot / -netdev user,id=n,smb=/   => not-supported/smb -netdev user,id=n,smb=/: 'smb' is not supported with -chroot: smbd is started later, for each connection | start the machine as *
-netdev user,id=n,net=10.0.2.0/33   => out-of-range/net -netdev user,id=n,net=10.0.2.0/33: 'net' does not take '10.0.2.0/33': a prefix has 1 to 30 bits | it looks like 10.0.2.0/24
-netdev user,id=n,host=10.0.3.2     => invalid-value/host -netdev user,id=n,host=10.0.3.2: 'host' is 10.0.3.2, which is no address of a computer in the network | choose one in the network that is neither its first nor its last
-netdev user,id=n,dns=10.0.2.2      => conflict/dns -netdev user,id=n,dns=10.0.2.2: 'host' and 'dns' must not be the same address | give them two addresses
-netdev user,id=n,ipv4=off,ipv6=off => conflict/ipv4 -netdev user,id=n,ipv4=off,ipv6=off: 'ipv4' and 'ipv6' are both off: nothing is left | leave one of them on
-netdev user,id=n,tftp=/nonexistent => file-not-found/tftp -netdev user,id=n,tftp=/nonexistent: 'tftp' does not take '/nonexistent': there is no such folder | create it first
-netdev user,id=n,hostfwd=tcp:22    => invalid-syntax/hostfwd -netdev user,id=n,hostfwd=tcp:22: hostfwd=tcp:22: the host's side is not *
-netdev user,id=n,hostfwd=sctp::1-:2 => invalid-syntax/hostfwd -netdev user,id=n,hostfwd=sctp::1-:2: hostfwd=sctp::1-:2: the rule begins with neither 'tcp:', 'udp:' nor ':' | it looks like tcp::5555-:22, or udp:127.0.0.1:5353-10.0.2.15:53
-netdev user,id=n,guestfwd=:1.2.3.4:1-null => in-use/guestfwd -netdev user,id=n,guestfwd=:1.2.3.4:1-null: guestfwd=:1.2.3.4:1-null: the address is not free for this*
-netdev hubport,id=h,hubid=0,netdev=x => not-found/netdev -netdev hubport,id=h,hubid=0,netdev=x: there is no network back end 'x' | make it before: netdev_add or -netdev
-device virtio-net-pci,netdev=x     => not-found/netdev -device virtio-net-pci,netdev=x: property 'netdev': there is no network back end 'x' | make it before: netdev_add or -netdev
-device virtio-net-pci,failover=on  => not-supported/device -device virtio-net-pci,failover=on: device 'virtio-net-pci': failover=on: there are no standby cards | leave it out
-d foo                              => not-found/d -d foo: unknown log item 'foo' | '-d help' lists the log items
-d guest_error                      => not-found/d -d guest_error: unknown log item 'guest_error' | did you mean 'guest_errors'?*
-D /nonexistent/x                   => file-not-found/D -D /nonexistent/x: cannot open log file '/nonexistent/x': No such file or directory | see whether the name is right: its folder must exist
-boot foo=1                         => unknown-member/foo -boot foo=1: 'foo' is unknown*
-boot order=q                       => invalid-value/order -boot order=q: 'q' is not a boot drive (a to p) | a: floppy, c: hard disk, d: CD-ROM, n: network
-boot order=cc                      => conflict/order -boot order=cc: boot drive 'c' is given twice | name each once
-boot menu=2                        => invalid-value/menu -boot menu=2: 'menu'*2*
-rtc base=x                         => invalid-value/base -rtc base=x: 'base' does not take 'x' | utc, localtime, 2006-06-17T16:01:21 or 2006-06-17
-rtc driftfix=slow                  => invalid-value/driftfix -rtc driftfix=slow: 'driftfix' must be one of 'none', 'slew', not 'slow'*
-uuid x                             => invalid-value/uuid -uuid x: 'x' is not a UUID | it looks like *
-global foo                         => invalid-syntax/global -global foo: 'foo' is not DRIVER.PROPERTY=VALUE | such as isa-serial.iobase=0x2f8
-set foo                            => invalid-syntax/set -set foo: 'foo' is not GROUP.ID.ARG=VALUE | such as device.net0.mac=52:54:00:12:34:56
-set device.a.b=c                   => not-found/set -set device.a.b=c: there is no -device with id 'a' before it | write the option that makes it before -set
-set drive.a.b=c                    => not-found/set -set drive.a.b=c: there is no -drive with id 'a' before it | write the option that makes it before -set
-set smbios.a.b=c                   => not-supported/set -set smbios.a.b=c: group 'smbios' is not one that -set can change | the groups are device, chardev, drive, netdev and object
-name a,b=c                         => unknown-member/b -name a,b=c: 'b' is unknown*
-fw_cfg foo                         => missing-member/file -fw_cfg foo: exactly one of file= and string= is needed | file=FILE takes a file's content, string=TEXT the text itself
-fw_cfg opt/a,file=/nonexistent     => file-not-found/file -fw_cfg opt/a,file=/nonexistent: could not read '/nonexistent': No such file or directory | see whether the name is right: its folder must exist
-smbios type=99                     => invalid-value/type -smbios type=99: 'type' must be one of *, not '99'
-smbios type=1,foo=2                => unknown-member/foo -smbios type=1,foo=2: 'foo' is unknown*
-smbios file=/nonexistent           => file-not-found/smbios *-smbios*/nonexistent*No such file*
-action foo                         => unknown-member/foo -action foo: 'foo' is unknown*
-action reboot=foo                  => invalid-value/reboot -action reboot=foo: 'reboot' must be one of 'reset', 'shutdown', not 'foo'
-action watchdog=foo                => invalid-value/watchdog -action watchdog=foo: 'watchdog' must be one of 'reset', 'shutdown', 'poweroff', 'pause', 'debug', 'none', 'inject-nmi', not 'foo'
-watchdog-action foo                => invalid-value/watchdog -watchdog-action foo: 'watchdog' must be one of *, not 'foo'
-echr 300                           => out-of-range/echr -echr 300: '300' is not the code of a byte (0 to 255)*
-seed x                             => invalid-value/seed -seed x: 'x' is not a non-negative number | give a number from 0 on, decimal or with 0x
-accel tcg -overcommit cpu-pm=on    => not-supported/cpu-pm -overcommit cpu-pm=on: accelerator 'tcg' has no idle states * | use -accel kvm, or cpu-pm=off
-accel tcg -cpu max,hv-relaxed      => not-supported/hv-relaxed -cpu: 'hv-relaxed' is not there: Hyper-V enlightenments * | leave them out*
-accel tcg -cpu max,hv_time=on      => not-supported/hv_time -cpu: 'hv_time' is not there: Hyper-V enlightenments * | leave them out*
-cpu max,+kvm-pv-unhalt             => not-supported/kvm-pv-unhalt -cpu: 'kvm-pv-unhalt' is not there: hypercalls * | leave it out
-overcommit foo=on                  => unknown-member/foo -overcommit foo=on: 'foo' is not a member of -overcommit
-msg timestap=on                    => unknown-member/timestap -msg timestap=on: 'timestap' is not a member of -msg | did you mean 'timestamp'?
-pidfile /nonexistent/x             => file-not-found/pidfile -pidfile /nonexistent/x: could not create it: No such file or directory | see whether the name is right: its folder must exist
-runas nosuchuser                   => not-found/runas -runas nosuchuser: there is no such user, and it is not UID:GID | name a user of the host, or give numbers, such as 1000:1000
-chroot /nonexistent                => file-not-found/chroot -chroot /nonexistent: could not change the root directory: *
-daemonize -serial stdio            => conflict/daemonize -serial stdio: -daemonize leaves no terminal for stdio | use a pty, file or socket
"""


# A sentence that says by itself what goes.
CURES = re.compile(r" \| |must |use |leave |takes |exclude each other|[1-9]\S* to \d|needs |goes with|range is|at most|possible")


def run(args):
    # A leak checker stops threads by ptrace(), which the sandbox ends the program for.
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0") if "-sandbox" in args else None
    p = subprocess.run([BIN, "-msg", "x-rhea-code=on", "-display", "none", "-S"] + args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=10 * SLOW, env=env)
    err = p.stderr.decode(errors="replace")
    lines = err[len(NAME) + 2:].splitlines() if err.startswith(NAME + ": ") else ["(no name) " + err]
    m = re.fullmatch(r"code=(\S+)(?: member=(\S+))?", lines[-1])
    what = f"{m.group(1)}/{m.group(2) or '-'}" if m else None
    return p.returncode, p.stdout.decode(errors="replace"), what, " | ".join(lines[:-1] if m else lines)


def refused():
    """The options of the last part of -help, with what it says of them."""
    text = subprocess.run([BIN, "-help"], stdout=subprocess.PIPE, timeout=10 * SLOW).stdout.decode()
    part = text.split("\nKnown, but not supported yet:\n")[1].split("\n\n")[0]
    for line in part.splitlines():
        m = re.match(r"-(\S+) +(.+)", line)
        yield m.group(1), m.group(2)


def main():
    rows = [r.split("=>", 1) for r in ROWS.strip().splitlines()]
    rows = [(shlex.split(a), *p.strip().split(" ", 1)) for a, p in rows]
    n = bad = told = 0
    if len(rows) < 200:
        print("Bail out! the table has shrunk")
        return 1
    for args, wanted, pattern in rows:
        n += 1
        status, out, what, err = run(args)
        told += not wanted.startswith("failed/") and not wanted.endswith("/-") and bool(CURES.search(err))
        if status != 1 or out or what != wanted or not fnmatch.fnmatchcase(err, pattern):
            bad += 1
            print(f"not ok {n} - {shlex.join(args)}\n# status {status}\n# stdout {out!r}\n# stderr {err!r}\n# code {what}\n"
                  f"# wanted {wanted} {pattern!r}")
        else:
            print(f"ok {n} - {shlex.join(args)}")
    n += 1
    bad += told < 200
    print(f"{'ok' if told >= 200 else 'not ok'} {n} - {told} of {len(rows)} have a code, a member and a cure")
    for name, reason in refused():
        n += 1
        status, out, what, err = run(["-" + name])
        cause = reason.split("; use ")[0]
        wanted = f"option '-{name}' is not supported yet: {cause}; "
        ok = status == 1 and not out and err.startswith(wanted) and what == f"not-supported/{name}"
        bad += not ok
        print(f"{'ok' if ok else 'not ok'} {n} - -{name} is refused" + ("" if ok else f"\n# {status} {err!r}"))
    print(f"1..{n}")
    return 1 if bad else 0


sys.exit(main())
