#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""-dump-config and -readconfig (tools/system/readconfig.c): what the first prints, the second takes to mean the same, for every option;
QEMU's files of sections; what is refused."""
import json
import os
import re
import subprocess
import sys
import tempfile

import rheatest as rt
from qmp import expect


def run(*args, status=0):
    p = subprocess.run([rt.BIN, *args], capture_output=True, text=True, timeout=60 * rt.SLOW, check=False, stdin=subprocess.DEVNULL)
    expect(p.returncode == status, f"{args}: status {p.returncode}, {p.stdout} {p.stderr}")
    return p.stdout if status == 0 else p.stderr


# One row a line; FILE, DIR: a file and a folder that are there. Each option stands in one of them at least.
ROWS = """
-machine q35,accel=kvm:tcg,hpet=off,smm=on,mem-merge=off,memory-backend=ram0 -object memory-backend-ram,id=ram0,size=64M -m 64
-M pc -accel tcg,tb-size=64 -accel kvm -cpu qemu64,+avx,-sse3 -smp 4,sockets=2,cores=2 -m size=1G,maxmem=1G
-vnc 127.0.0.1:3,to=9,id=v,share=ignore,key-delay-ms=5 -vnc none,id=w -k de
-boot order=cd,once=n,menu=on,strict=on,reboot-timeout=-1 -name guest=it,debug-threads=on -uuid 12345678-1234-1234-1234-123456789abc
-device isa-serial,chardev=c0,id=s0 -device {"driver":"virtio-rng-pci","id":"r0"} -chardev null,id=c0 -chardev ringbuf,id=c1,size=4096
-chardev socket,id=c2,path=DIR/s,server=on,wait=off -mon c0 -mon chardev=c1,mode=control,pretty=on
-device isa-serial,id=x -set device.x.iobase=0x2f8
-global isa-serial.iobase=0x3e8 -global driver=isa-serial,property=irq,value=5 -global mc146818rtc.lost_tick_policy=slew
-rtc base=2006-06-17T16:01:21,clock=vm,driftfix=slew -icount shift=3,align=off,sleep=off -seed 77
-numa node,nodeid=0,cpus=0-1,memdev=m0 -numa node,cpus=2 -numa dist,src=0,dst=1,val=20 -numa cpu,node-id=1,socket-id=3
-object memory-backend-file,id=m0,size=16M,mem-path=DIR,share=on -object throttle-group,id=g,limits.iops-total=100 -object secret,id=k,data=abc
-mem-path DIR -mem-prealloc
-audiodev none,id=snd0,timer-period=1000 -audiodev wav,id=snd1,path=DIR/a.wav -audio none,model=ac97,id=snd2
-drive file=FILE,if=none,id=d,format=raw,read-only=on,throttling.bps-total=1000 -drive if=virtio,file=FILE,format=raw,index=3 -snapshot
-blockdev driver=raw,node-name=n,file.driver=file,file.filename=FILE -blockdev {"driver":"null-co","node-name":"z","size":1024}
-hda FILE -hdb FILE -hdc FILE -hdd FILE -fda FILE -fdb FILE
-cdrom FILE -pflash FILE -pflash FILE
FILE
-display none -full-screen -vga none -parallel none -nographic
-M pc -usb -usbdevice tablet -usbdevice keyboard
-no-acpi -no-hpet -no-fd-bootchk -smbios type=1,manufacturer=a,,b,product=c -smbios type=11,value=x -smbios file=FILE
-nic user,model=e1000,hostfwd=tcp::5555-:22,hostfwd=tcp::5556-:80 -netdev user,id=u,ipv6=off,dnssearch=a,dnssearch=b -net nic,netdev=u -net none
-netdev stream,id=t,addr.type=unix,addr.path=DIR/n,server=on
-bios FILE -kernel FILE -append a=b,c -initrd FILE -L DIR -L /elsewhere -fw_cfg opt/a,string=b -fw_cfg name=opt/c,file=FILE
-serial null -serial file:DIR/out -monitor none -qmp unix:DIR/q,server=on,wait=off -qmp-pretty null -debugcon null -qtest null -qtest-log none
-pidfile DIR/pid -S -d int,unimp -D DIR/log -no-reboot -no-shutdown -action panic=none,watchdog=pause -watchdog-action reset -daemonize -echr 20
-msg timestamp=on,guest-name=off -overcommit mem-lock=off,cpu-pm=off -runas 1:1 -chroot DIR -nodefaults -no-user-config
-enable-kvm -s
-gdb tcp::1235 -trace run_state -trace enable=blk_*,file=DIR/log2 -sandbox on,spawn=allow,elevateprivileges=children
"""
# What ends the program, or is about files of options itself; -add-fd needs a descriptor: below.
OTHERS = {"help", "version", "dump-config", "readconfig", "add-fd", "audio-help"}


def config_round_trip():
    """Every option that there is."""
    text = run("-help")
    text = text[:text.index("Known, but not supported yet")]
    known = [{n.lstrip("-") for n in line.split(" or ")} for line in re.findall(r"^(-\S+(?: or -\S+)*)(?: |$)", text, re.M)]
    expect(len(known) > 80, f"{known}")
    seen = set()
    with tempfile.TemporaryDirectory(prefix="rhea-config-") as d:
        some, config = os.path.join(d, "some"), os.path.join(d, "config")
        with open(some, "wb") as f:
            f.write(bytes(4096))
        for row in ROWS.strip().splitlines():
            args = [w.replace("FILE", some).replace("DIR", d) for w in row.split()]
            seen |= {a.lstrip("-") for a in args if a.startswith("-")}
            first = run(*args, "-dump-config")
            with open(config, "w", encoding="utf-8") as f:
                f.write(first)
            again = run("-readconfig", config, "-dump-config")
            expect(json.loads(first) == json.loads(again), f"{row}:\n{first}\n{again}")
        missing = [names for names in known if not names & (seen | OTHERS)]
        expect(not missing, f"options without a row: {missing}")
        r, w = os.pipe()
        os.set_inheritable(w, True)
        args = ["-add-fd", f"set=2,fd={w},opaque=x"]
        first = subprocess.run([rt.BIN, *args, "-dump-config"], capture_output=True, text=True, check=True, close_fds=False).stdout
        with open(config, "w", encoding="utf-8") as f:
            f.write(first)
        again = subprocess.run([rt.BIN, "-readconfig", config, "-dump-config"], capture_output=True, text=True, check=True, close_fds=False)
        expect(json.loads(first) == json.loads(again.stdout), f"{first} {again.stdout}")
        os.close(r)
        os.close(w)


SECTIONS = """# as QEMU writes it
[machine]
  type = "pc"
  accel = "tcg"

[memory]
  size = "32"
[smp-opts]
  cpus = "2"

[drive "d0"]
  if = "none"
  file = "FILE"
  format = "raw"
  throttling.bps-total = "1000"
[chardev "c0"]
  backend = "null"
[device "s0"]
  driver = "isa-serial"
  chardev = "c0"
[boot-opts]
  order = "c"
[fw_cfg]
  name = "opt/x"
  string = "a,b"
[name]
  guest = "it"
"""


def config_sections():
    """QEMU's form, and that a machine comes of it; errors."""
    with tempfile.TemporaryDirectory(prefix="rhea-config-") as d:
        path = os.path.join(d, "config")

        def write(text):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        with open(os.path.join(d, "a,disk"), "wb") as f:
            f.write(bytes(512))
        write(SECTIONS.replace("FILE", os.path.join(d, "a,disk")))
        want = json.loads(run("-machine", "pc,accel=tcg", "-m", "32", "-smp", "2", "-drive", f"id=d0,if=none,file={d}/a,,disk,format=raw,throttling.bps-total=1000",
                              "-chardev", "null,id=c0", "-device", "isa-serial,id=s0,chardev=c0", "-boot", "order=c",
                              "-fw_cfg", "opt/x,string=a,,b", "-name", "it", "-dump-config"))
        got = json.loads(run("-readconfig", path, "-dump-config"))
        expect(got == want, f"{got}\n{want}")
        p = subprocess.run([rt.BIN, "-readconfig", path, "-display", "none", "-S", "-monitor", "stdio", "-serial", "none"], capture_output=True,
                           text=True, input="info name\ninfo chardev\nquit\n", timeout=60 * rt.SLOW, check=False)
        expect(p.returncode == 0 and re.search(r"^it\r?$", p.stdout, re.M) and "c0: filename=null" in p.stdout, p.stdout + p.stderr)
        for text, what in (("{", "could not"), ("{\"nope\": 1}", "there is no option '-nope'"), ("{\"S\": \"x\"}", "takes no value"),
                           ("{\"m\": true}", "needs a value"), ("{\"m\": null}", "null"), ("{\"m\": [[1]]}", "array"),
                           ("{\"readconfig\": \"x\"}", "cannot be in a file"), ("{\"spice\": \"x\"}", "'-spice' is not supported"),
                           ("{\"m\": {\"size\": \"x\"}}", "size"), ("[nope]\na = \"b\"", "line 1: there is no option '-nope'"),
                           ("a = \"b\"", "line 1: 'a = \"b\"' is not [group]"), ("[machine]\ntype = pc", "line 2: 'type = pc' is not key"),
                           ("[m]\nsize = \"32\"\n[device]\ndrv = \"x\"\n\n[memory]\nsize = \"x\"", "line 6: ")):
            write(text)
            err = run("-readconfig", path, "-dump-config", status=1)
            if what == "could not":
                expect(f"-readconfig {path}" in err, err)
            else:
                expect(f"-readconfig {path}: " in err and what in err, f"{text}: {err}")
        for name, what in (("/nowhere/x", "could not read"), (d, "is not a file"), ("/dev/zero", "is not a file")):
            expect(what in run("-readconfig", name, status=1), f"{name}: {what}")


ALL = [config_round_trip, config_sections]

if __name__ == "__main__":
    rt.main(*[t for t in ALL if len(sys.argv) == 1 or t.__name__ in sys.argv[1:]])
