#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Properties of USB controllers and devices, virtio input, disks, network cards, sources of random numbers, serial ports, balloons, sound cards, graphics cards, pvpanic, watchdogs and vmgenid (hw/net, hw/usb, hw/virtio/virtio-input.c, virtio-blk.c, virtio-net.c, virtio-rng.c, virtio-serial*.c, virtio-balloon.c, virtio-sound.c, virtio.c, hw/display/virtio-gpu.c, virtio-vga.c, vga-pci.c,
vga-isa.c, bochs-display.c, virtio-mmio.c, hw/ide, hw/audio, hw/display/cirrus-card.c, hw/misc/pvpanic.c, vmgenid.c, hw/watchdog, hw/pci/pci.c, hw/block/shape.c): each one that QEMU 7.2 has works here, or is
refused by its name with a reason and a cure.

A row is a property with a value, and what comes of it: ok, or a pattern (fnmatch) for what is said behind the
device's line; lines are joined by ' | '. Where a QEMU 7.2 is installed, each property that its help lists must have a row (of NEWER it has none).
What a guest sees of these values: tests/device/test-virtio.c, test-ide.c, test-ide-cd.c."""
import fnmatch
import os
import re
import shutil
import subprocess
import sys

BUILD = os.environ.get("RHEA_BUILD_ROOT", "build")
BIN = os.environ.get("RHEA_BIN") or os.path.join(BUILD, "tools/system/rhea-system-x86_64")
LIMIT = 20 * float(os.environ.get("RHEA_TEST_SLOWDOWN", "1"))

OLD = "*: property '{p}' does not accept '{v}': a switch for QEMU's older machine types | leave it out"
USE = """
account-failed=off ok
account-failed=auto ok
account-invalid=on ok
backend_defaults=auto ok
rerror=stop ok
rerror=never *property 'rerror' does not accept 'never' | possible values: *
werror=enospc ok
share-rw=on ok
share-rw=off ok
"""
DISK = USE + """
backend_defaults=on *backend_defaults=on: block sizes are not taken from the host's disk | give *
cyls=5,heads=4,secs=3 ok
cyls=5 *cyls=5, heads=0, secs=0 is no geometry of a disk | give all three: *
heads=5 *cyls=0, heads=5, secs=0 is no geometry of a disk | give all three: *
secs=5 *cyls=0, heads=0, secs=5 is no geometry of a disk | give all three: *
lcyls=0 ok
lcyls=5 *property 'lcyls' does not accept '5': the firmware is not told *, it chooses by itself | leave it out; *
lheads=5 *property 'lheads' does not accept '5': *
lsecs=5 *property 'lsecs' does not accept '5': *
drive=d ok
drive=x *there is no drive or block node 'x'*
bootindex=3 ok
serial=S1 ok
write-cache=off ok
write-cache=auto ok
logical_block_size=512 ok
logical_block_size=1000 *logical_block_size 1000 and physical_block_size *: powers of two from 512 on*
physical_block_size=4096 ok
physical_block_size=256 *powers of two from 512 on*
discard_granularity=700 *discard_granularity 700 must be a multiple of logical_block_size 512*
"""
RING = """
any_layout=off ok
event_idx=off ok
indirect_desc=off ok
notify_on_empty=off ok
packed=on ok
queue_reset=off ok
use-started=on ok
use-started=off OLD
use-disabled-flag=off OLD
x-disable-legacy-check=on OLD
"""
VIRTIO = RING + DISK + """
config-wce=off ok
discard=off ok
discard_granularity=64K ok
discard_granularity=0 ok
logical_block_size=4096 ok
physical_block_size=2M ok
logical_block_size=4M *property 'logical_block_size' does not accept 4194304: the range is *
min_io_size=8192,opt_io_size=1M ok
min_io_size=700 *must be multiples of logical_block_size*
opt_io_size=700 *must be multiples of logical_block_size*
max-discard-sectors=1 ok
max-write-zeroes-sectors=4194303 ok
num-queues=64 ok
num-queues=65 *num-queues 65: 1 to 64 are possible | leave it out*
queue-size=1024 ok
queue-size=100 *queue-size 100 is not a power of two | such as*
report-discard-granularity=off ok
request-merging=off ok
request-merging=on *property 'request-merging' does not accept 'on': each request goes to the image as * | leave it out: *
scsi=off ok
scsi=on *property 'scsi' does not accept 'on': virtio 1.0 and later have no SCSI commands on a disk | leave it out
seg-max-adjust=off ok
seg-max-adjust=off,queue-size=64 *seg-max-adjust=off: requests have up to 126 parts, and queue-size is 64 | *
write-zeroes=off ok
x-enable-wce-if-config-wce=on ok
x-enable-wce-if-config-wce=off *: a switch for QEMU's older machine types | *
iothread=t ok
"""
CLASS = """
class=0x180 ok
class=0x200 *class=0x200 is no PCI class of a virtio disk | 0x100 (SCSI), 0x180 (other storage) and 0 are possible
"""
CIRRUS = """
blitter=off ok
vgamem_mb=4 ok
vgamem_mb=16 ok
vgamem_mb=2 *vgamem_mb=2 is no possible size: the chip has 4 MiB | leave it out, or give 8 or 16
"""
PCI = """
addr=7.1 ok
acpi-index=0 ok
acpi-index=7 *property 'acpi-index' does not accept '7': the ACPI tables name no PCI devices | leave it out; *
failover_pair_id=x *property 'failover_pair_id' does not accept 'x': * | leave it out
multifunction=on ok
rombar=0 ok
romfile=/nonexistent *option ROM of*'/nonexistent'*
romsize=65536 *romsize=65536: '*' has no option ROM | give romfile=, or leave it out
aer=off ok
aer=on *property 'aer' does not accept 'on': there is no advanced error reporting: * | leave it out
ats=off ok
ats=on *property 'ats' does not accept 'on': there is no IOMMU whose translations could be kept | leave it out
x-ats-page-aligned=on ok
x-ats-page-aligned=off *: there is no IOMMU whose translations could be kept | leave it out
disable-legacy=on ok
disable-modern=on ok
ioeventfd=off ok
iommu_platform=on *iommu_platform=on: drivers of the legacy interface know nothing of it | use disable-legacy=on, *
iommu_platform=on,disable-legacy=on ok
migrate-extra=off OLD
modern-pio-notify=on *'modern-pio-notify' does not accept 'on': notification registers are in memory only | *
page-per-vq=on ok
vectors=0 ok
vectors=3 ok
virtio-backend=x *property 'virtio-backend' does not accept 'x': transport and device are one | *
virtio-pci-bus-master-bug-migration=on OLD
x-disable-pcie=off ok
x-disable-pcie=on *property 'x-disable-pcie' does not accept 'on': behind a PCI Express port it is * | leave it out; *
x-ignore-backend-features=on OLD
x-pcie-deverr-init=on OLD
x-pcie-extcap-init=off OLD
x-pcie-flr-init=on OLD
x-pcie-lnkctl-init=on OLD
x-pcie-lnksta-dllla=on OLD
x-pcie-pm-init=on OLD
"""
IDE = """
unit=1 ok
unit=2 *unit 2 does not exist*
ver=1.5 ok
model=A ok
wwn=0x5000c50015ea71ac ok
"""
ATA = IDE + DISK + """
bios-chs-trans=auto ok
bios-chs-trans=lba *property 'bios-chs-trans' does not accept 'lba': the firmware is not told * | leave it out; *
discard_granularity=0 ok
discard_granularity=4096 *discard_granularity=4096: an ATA disk cannot tell of it | 0: no TRIM; *
logical_block_size=4096 *logical_block_size=4096: an ATA disk has sectors of 512 bytes | physical_block_size= may be *
min_io_size=0 ok
min_io_size=4096 *property 'min_io_size' does not accept '4096': an ATA disk cannot tell of it | leave it out; *
opt_io_size=4096 *property 'opt_io_size' does not accept '4096': an ATA disk cannot tell of it | leave it out; *
rotation_rate=1 ok
rotation_rate=7200 ok
rotation_rate=1024 *rotation_rate=1024 cannot be told | 1: does not rotate; 1025 to 65534: *
"""
CD = IDE + USE + """
backend_defaults=on *property 'backend_defaults' does not accept 'on': a CD has blocks of 2048 bytes, * | leave it out
drive=d ok
bootindex=3 ok
serial=S1 ok
write-cache=on ok
discard_granularity=4096 *property 'discard_granularity' does not accept '4096': a CD is never written | leave it out
logical_block_size=0 ok
logical_block_size=512 *'logical_block_size' does not accept '512': a CD has blocks of 2048 bytes, * | leave it out
physical_block_size=512 *'physical_block_size' does not accept '512': a CD has blocks of 2048 bytes, * | leave it out
min_io_size=512 *'min_io_size' does not accept '512': a CD has blocks of 2048 bytes, * | leave it out
opt_io_size=512 *'opt_io_size' does not accept '512': a CD has blocks of 2048 bytes, * | leave it out
"""
RNG = RING + """
max-bytes=1000 ok
max-bytes=0 *property 'max-bytes' does not accept 0: the range is *
period=1 ok
period=0 *property 'period' does not accept 0: the range is *
rng=r ok
rng=x *there is no rng 'x' | make it with -object rng-random,id=x,filename=FILE, or leave rng= out
"""
BALLOON = RING + """
deflate-on-oom=on ok
free-page-hint=off ok
free-page-hint=on *property 'free-page-hint' does not accept 'on': it leaves * a migration, * | leave it out; *
free-page-reporting=on ok
guest-stats=x *property 'guest-stats' does not accept 'x': the guest tells them | leave it out; *
guest-stats-polling-interval=5 ok
guest-stats-polling-interval=-1 *guest-stats-polling-interval*
iothread=t *property 'iothread' does not accept 't': it serves free page hinting, * | leave it out
page-poison=off ok
qemu-4-0-config-size=on OLD
"""
SERIAL = RING + """
emergency-write=off ok
max_ports=1 ok
max_ports=31 ok
max_ports=0 *max_ports=0: 1 to 31 are possible | a device has 64 queues; *
max_ports=32 *max_ports=32: 1 to 31 are possible | a device has 64 queues; *
"""
SERIAL_CLASS = """
class=0x380 ok
class=0x200 *class=0x200 is no PCI class of a virtio serial device | 0x780 (communication), *
"""
PORT = """
chardev=c ok
chardev=x *there is no chardev with id 'x'*
name=org.test ok
nr=30 ok
nr=31 *nr=31: bus 'vs.0' has ports 0 to 30 | use a smaller one, *
"""
PANIC = """
events=2 ok
events=4 *property 'events' does not accept 4: the range is *
"""
EDID = """
edid=off ok
xres=4095,yres=4095 ok
xres=4096 *property 'xres' does not accept 4096: the range is *
yres=4096 *property 'yres' does not accept 4096: the range is *
xmax=16000,ymax=12000 ok
xmax=16001 *property 'xmax' does not accept 16001: the range is *
ymax=12001 *property 'ymax' does not accept 12001: the range is *
refresh_rate=60000 ok
refresh_rate=1000001 *property 'refresh_rate' does not accept 1000001: the range is *
big-endian-framebuffer=on ok
"""
VGA = EDID + """
vgamem_mb=1 ok
vgamem_mb=512 ok
vgamem_mb=0 *property 'vgamem_mb' does not accept 0: the range is *
vgamem_mb=3 *vgamem_mb=3 is no possible size | give 16, or another power of two from 1 to 512
qemu-extended-regs=off ok
"""
GLOBAL_STATE = """
global-vmstate=off ok
global-vmstate=on *property 'global-vmstate' does not accept 'on': saved states know the card by its place | leave it out
"""
BOCHS = EDID + """
vgamem=4M ok
vgamem=512M ok
vgamem=1M *vgamem=1048576 is no possible size | give 16M, or another power of two from 4M to 512M
vgamem=5M *vgamem=5242880 is no possible size | *
vgamem=1G *property 'vgamem' does not accept 1073741824: the range is *
"""
ANY_PCI = """
addr=7.1 ok
acpi-index=0 ok
failover_pair_id=x *property 'failover_pair_id' does not accept 'x': * | leave it out
multifunction=on ok
rombar=0 ok
romfile=/nonexistent *option ROM of*'/nonexistent'*
romsize=65536 *romsize=65536: '*' has no option ROM | give romfile=, or leave it out
x-pcie-extcap-init=off OLD
x-pcie-lnksta-dllla=on OLD
"""
WITH_ROM = "\n".join(r for r in ANY_PCI.splitlines() if not r.startswith("romsize")) + "\nromsize=65536 ok\n"
NIC = """
netdev=h ok
netdev=x *there is no network back end 'x'*
mac=52:54:00:00:00:07 ok
mac=x *mac*x*
bootindex=3 ok
"""
NIC_ROM = "romsize=65536 *option ROM*\n" # each has one of its own, which is larger
ANY_NIC = NIC + "\n".join(r for r in ANY_PCI.splitlines() if not r.startswith("romsize")) + "\n" + NIC_ROM
VNET = RING + NIC + "".join(f"{name}=off ok\n" for name in (
    "csum", "ctrl_guest_offloads", "ctrl_mac_addr", "ctrl_rx", "ctrl_rx_extra", "ctrl_vlan", "ctrl_vq", "failover", "gso",
    "guest_announce", "guest_csum", "guest_ecn", "guest_rsc_ext", "guest_tso4", "guest_tso6", "guest_ufo", "hash", "host_ecn",
    "host_tso4", "host_tso6", "host_ufo", "mq", "mrg_rxbuf", "rss", "status")) + """
duplex=full ok
failover=on *failover=on: there are no standby cards | leave it out
guest_rsc_ext=on *property 'guest_rsc_ext' does not accept 'on': the device joins no segments | leave it out
guest_uso4=on,guest_uso6=on,host_uso=on ok
hash=on ok
host_mtu=1400 ok
host_mtu=60 *host_mtu 60: 68 to 65535 are possible*
mq=on ok
rsc_interval=300000 ok
rsc_interval=1 *property 'rsc_interval' does not accept '1': the device joins no segments | leave it out
rss=on ok
rss=on,hash=on,mq=on,packed=on ok
rx_queue_size=512,tx_queue_size=512 ok
rx_queue_size=1024 ok
tx_queue_size=1024 ok
rx_queue_size=300 *rx_queue_size 300 is not a power of two | 256, 512 and 1024 are possible
tx_queue_size=300 *tx_queue_size 300 is not a power of two | *
rx_queue_size=128 *property 'rx_queue_size' does not accept 128: the range is *
tx_queue_size=2048 *property 'tx_queue_size' does not accept 2048: the range is *
speed=1000 ok
tx=bh ok
tx=timer *tx=timer: frames go out at once | use tx=bh, or leave it out
x-mtu-bypass-backend=off OLD
x-txburst=1 *property 'x-txburst' does not accept '1': * | leave it out
x-txtimer=1 *property 'x-txtimer' does not accept '1': frames go out at once | leave it out
"""
GPU = RING + """
max_outputs=16 ok
max_outputs=0 *property 'max_outputs' does not accept 0: the range is *
max_outputs=17 *property 'max_outputs' does not accept 17: the range is *
xres=1,yres=16384 ok
xres=0 *property 'xres' does not accept 0: the range is *
yres=16385 *property 'yres' does not accept 16385: the range is *
edid=off ok
max_hostmem=1G ok
max_hostmem=4G *property 'max_hostmem' does not accept 4294967296: the range is *
blob=off ok
blob=on *property 'blob' does not accept 'on': pictures are copied; * | leave it out
virgl=on *property 'virgl' does not accept 'on': there is no 3D: * | leave it out
"""
# There is no legacy interface; the card with a VGA has an option ROM.
GPU_PCI = "\n".join(r for r in PCI.splitlines() if not r.startswith(("disable-modern", "iommu_platform=on "))) + """
disable-modern=off ok
disable-modern=on *disable-modern=on: virtio has graphics devices since version 1.0 only | leave it out
disable-legacy=off *disable-legacy=off: virtio has graphics devices since version 1.0 only | leave it out
"""
GPU_VGA = "\n".join(r for r in GPU_PCI.splitlines() if not r.startswith("romsize")) + "\nromsize=65536 ok\nbig-endian-framebuffer=on ok\n"
VNET_PCI = "\n".join(r for r in PCI.splitlines() if not r.startswith("romsize")) + "\n" + NIC_ROM
HDA = """
debug=0 ok
debug=1 *property 'debug' does not accept '1': the controller prints nothing of its own | use -d guest_errors
msi=off ok
msi=on ok
old_msi_addr=on ok
"""
CODEC = """
audiodev=a ok
audiodev=x *audiodev 'x'*
cad=14 ok
cad=15 *cad=15: bus 's.0' has codec addresses 0 to 14 | leave it out: *
debug=1 *property 'debug' does not accept '1': the codec prints nothing of its own | use -d guest_errors
mixer=off ok
use-timer=on ok
use-timer=off *property 'use-timer' does not accept 'off': streams move with the machine's time, * | leave it out; *
"""
SOUND = RING + """
audiodev=a ok
audiodev=x *audiodev 'x'*
jacks=8 ok
jacks=9 *property 'jacks' does not accept 9: the range is *
streams=10 ok
streams=0 *property 'streams' does not accept 0: the range is *
chmaps=4 ok
chmaps=3,streams=1 *chmaps=3: 2 are possible: two channels and one, for each direction | leave it out
"""
MODERN = """
disable-legacy=on ok
disable-legacy=off *disable-legacy=off: virtio has sound devices since version 1.0 only | leave it out
disable-modern=on *disable-modern=on: virtio has sound devices since version 1.0 only | leave it out
ioeventfd=off ok
"""
USB = """
attached=on ok
attached=off *property 'attached' does not accept 'off': a device is plugged in as long as there is one | use device_add
msos-desc=on *property 'msos-desc' does not accept 'on': descriptors of Microsoft's are not made | leave it out
pcap=x *property 'pcap' does not accept 'x': packets are not recorded | leave it out; *
port=2 ok
port=9 *there is no port '9' on bus 'u.0' | *
serial=S1 ok
"""
HID = USB + """
usb_version=1 ok
usb_version=3 *usb_version=3: there are versions 1 and 2 | *
"""
DISPLAY = """
display=v ok
display=x *there is no device 'x' | info qtree lists them
"""
HEAD = DISPLAY + """
display=v,head=0 ok
display=v,head=1 *device 'v' has no head 1 | count from 0
"""
USB_DISK = USB + USE + """
backend_defaults=on *backend_defaults=on: block sizes are not taken from the host's disk | give *
commandlog=on *property 'commandlog' does not accept 'on': commands are not recorded | leave it out; *
discard_granularity=0 ok
discard_granularity=4096 *discard_granularity=4096: a USB disk does not discard | leave it out; *
drive=d ok
drive=x *there is no drive or block node 'x'*
bootindex=3 ok
logical_block_size=4096 ok
logical_block_size=8192 *logical_block_size=8192 with an image of 67108864 bytes | use 512 or 4096
physical_block_size=4096 ok
min_io_size=8192,opt_io_size=1M ok
min_io_size=700 *must be multiples of logical_block_size*
removable=on ok
write-cache=off ok
"""
UHCI = """
bandwidth=1280 ok
bandwidth=0 *property 'bandwidth' does not accept 0: the range is *
maxframes=1024 ok
maxframes=0 *property 'maxframes' does not accept 0: the range is *
"""
EHCI = "maxframes=1 ok\nmaxframes=1025 *property 'maxframes' does not accept 1025: the range is *\n"
COMPANION = UHCI + """
masterbus=u.0 ok
masterbus=x *there is no USB bus 'x' | add its controller before: *
masterbus=u.0,firstport=4 ok
masterbus=u.0,firstport=5 *firstport=5: it must be between 0 and 4 | companions of two ports each *
"""
XHCI = """
p2=15,p3=15 ok
p2=16 *p2=16: 0 to 15 are possible | leave it out *
p3=16 *p3=16: 0 to 15 are possible | leave it out *
p2=0,p3=0 *p2=0 and p3=0: a controller without ports | leave both out: *
streams=off ok
streams=on *property 'streams' does not accept 'on': bulk streams are for UAS disks, * | leave it out
"""
NEC = XHCI + """
force-pcie-endcap=on *property 'force-pcie-endcap' does not accept 'on': the slot decides * | leave it out
intrs=1 ok
intrs=17 *intrs=17: 1 to 16 are possible | leave it out *
slots=1 ok
slots=65 *slots=65: 1 to 64 are possible | leave it out *
msi=on,msix=off ok
msi=off ok
superspeed-ports-first=off ok
"""
VINPUT = RING + HEAD + f"serial=S1 ok\nserial={'x' * 129} *the serial number has 129 characters, 128 are possible\n"
VPOINTER = VINPUT + "wheel-axis=off ok\n"
VINPUT_PCI = "\n".join(r for r in PCI.splitlines() if not r.startswith(("disable-modern", "iommu_platform=on "))) + """
iommu_platform=on ok
disable-modern=off ok
disable-modern=on *disable-modern=on: virtio has input devices since version 1.0 only | leave it out
disable-legacy=off *disable-legacy=off: virtio has input devices since version 1.0 only | leave it out
"""
VINPUT_MMIO = "iommu_platform=on ok\n"
TYPES = {
    "usb-kbd": ("pc", HID + DISPLAY),
    "usb-mouse": ("pc", HID),
    "usb-tablet": ("pc", HID + HEAD),
    "usb-hub": ("pc", USB + "port-power=off ok\nport-power=on *property 'port-power' does not accept 'on': the ports have power "
                "always | leave it out\nports=1 ok\nports=9 *ports=9: 1 to 8 are possible | use several hubs\n"),
    "usb-storage": ("pc", USB_DISK),
    "piix3-usb-uhci": ("pc", UHCI + ANY_PCI),
    "piix4-usb-uhci": ("pc", UHCI + ANY_PCI),
    "ich9-usb-uhci1": ("q35", COMPANION + ANY_PCI),
    "usb-ehci": ("pc", EHCI + ANY_PCI),
    "ich9-usb-ehci1": ("q35", EHCI + ANY_PCI),
    "qemu-xhci": ("pc", XHCI + ANY_PCI),
    "nec-usb-xhci": ("pc", NEC + ANY_PCI),
    "virtio-keyboard-pci": ("pc", VINPUT + VINPUT_PCI),
    "virtio-mouse-pci": ("pc", VPOINTER + VINPUT_PCI),
    "virtio-tablet-pci": ("pc", VPOINTER + VINPUT_PCI),
    "virtio-keyboard-device": ("microvm", VINPUT + VINPUT_MMIO),
    "virtio-mouse-device": ("microvm", VPOINTER + VINPUT_MMIO),
    "virtio-tablet-device": ("microvm", VPOINTER + VINPUT_MMIO),
    "virtio-sound-pci": ("pc", SOUND + MODERN + "addr=7.1 ok\nvectors=0 ok\n"),
    "virtio-sound-device": ("microvm", SOUND),  # with force-legacy=off
    "intel-hda": ("pc", HDA + ANY_PCI),
    "ich9-intel-hda": ("q35", HDA + ANY_PCI),
    "hda-duplex": ("pc", CODEC),
    "hda-micro": ("pc", CODEC),
    "hda-output": ("pc", CODEC),
    "e1000": ("pc", ANY_NIC + "autonegotiation=on ok\nautonegotiation=off *: agreement is over*\nmitigation=on ok\n"
              "extra_mac_registers=off OLD\nmigrate_tso_props=off OLD\ninit-vet=off OLD\n"),
    "e1000e": ("q35", ANY_NIC + "init-vet=off OLD\nsubsys=7 ok\nsubsys_ven=0x1af4 ok\ndisable_vnet_hdr=0 ok\n"
               "disable_vnet_hdr=1 *: unfinished frames go to *\n"),
    "ne2k_pci": ("pc", ANY_NIC),
    "pcnet": ("pc", ANY_NIC),
    "rtl8139": ("pc", ANY_NIC),
    "virtio-net-pci": ("pc", VNET + VNET_PCI),
    "virtio-net-device": ("microvm", VNET + "iommu_platform=on ok\n"),  # with force-legacy=off
    "VGA": ("pc", VGA + WITH_ROM + GLOBAL_STATE + "mmio=off ok\n"),
    "secondary-vga": ("pc", VGA + ANY_PCI),
    "isa-vga": ("pc", "vgamem_mb=8 ok\nvgamem_mb=5 *vgamem_mb=5 is no possible size | give 16, *\n"),
    "bochs-display": ("pc", BOCHS + WITH_ROM),
    "cirrus-vga": ("pc", CIRRUS + WITH_ROM + GLOBAL_STATE),
    "isa-cirrus-vga": ("pc", CIRRUS),
    "pvpanic": ("pc", PANIC + "ioport=0x600 ok\nioport=0x60 *0x60*\n"),
    "pvpanic-pci": ("q35", PANIC + ANY_PCI),
    "i6300esb": ("pc", ANY_PCI),
    "vmgenid": ("pc", "guid=auto ok\nguid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87 ok\nguid=x *guid=x is not a GUID | it looks like *\n"),
    "virtio-rng-pci": ("pc", RNG + PCI),
    "virtio-rng-device": ("microvm", RNG + "iommu_platform=on ok\n"),  # with force-legacy=off
    "virtio-balloon-pci": ("pc", BALLOON + PCI),
    "virtio-balloon-device": ("microvm", BALLOON + "iommu_platform=on ok\n"),  # with force-legacy=off
    "virtio-serial-pci": ("pc", SERIAL + PCI + SERIAL_CLASS),
    "virtio-serial-device": ("microvm", SERIAL + "iommu_platform=on ok\n"),
    "virtserialport": ("pc", PORT + "nr=0 *nr=0 is kept for a virtconsole: * | leave nr= out: *\n"),
    "virtconsole": ("pc", PORT + "nr=0 ok\n"),
    "virtio-gpu-pci": ("pc", GPU + GPU_PCI),
    "virtio-gpu-device": ("microvm", GPU + "iommu_platform=on ok\n"),
    "virtio-vga": ("pc", GPU + GPU_VGA),
    "virtio-blk-pci": ("pc", VIRTIO + PCI + CLASS),
    "virtio-blk-device": ("microvm", VIRTIO + "iommu_platform=on ok\n"),  # with force-legacy=off
    "ide-hd": ("pc", ATA),
    "ide-cd": ("pc", CD),
}
WITH_BUS = ("virtserialport", "virtconsole")
NEWER = ("virtio-sound-pci", "virtio-sound-device")  # than QEMU 7.2
ON_HDA = ("hda-duplex", "hda-micro", "hda-output")
WITH_DISK = ("virtio-blk-pci", "virtio-blk-device", "ide-hd", "ide-cd", "usb-storage")
ON_USB = ("usb-kbd", "usb-mouse", "usb-tablet", "usb-hub", "usb-storage")


def run(board, device):
    args = [BIN, "-nodefaults", "-M", board, "-display", "none", "-S", "-monitor", "stdio", "-blockdev",
            "null-co,node-name=d,size=64M,read-zeroes=on", "-object", "iothread,id=t", "-object", "rng-builtin,id=r", "-chardev",
            "null,id=c", "-netdev", "hubport,id=h,hubid=0"]
    args += ["-device", "virtio-serial-pci,id=vs"] if device.startswith(WITH_BUS) else []
    args += ["-audiodev", "none,id=a", "-device", "intel-hda,id=s"] if device.startswith(ON_HDA) else \
        ["-audiodev", "none,id=a"] if device.startswith(NEWER) else []
    args += ["-device", "qemu-xhci,id=u"] if device.startswith(ON_USB) else []
    args += ["-device", "ich9-usb-ehci1,id=u"] if "masterbus=" in device else []
    args += ["-device", "virtio-gpu-device,id=v" if board == "microvm" else "VGA,id=v"] if "display=" in device else []
    args += ["-device", device]
    args += ["-global", "virtio-mmio.force-legacy=off"] if board == "microvm" else []
    p = subprocess.run(args, input=b"quit\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT, check=False)
    return p.returncode, " | ".join(p.stderr.decode().strip().splitlines())


def peer_properties(driver):
    """The names in an installed QEMU 7.2's help; none without one."""
    qemu = shutil.which("qemu-system-x86_64")
    if driver in NEWER:
        return set()
    version = subprocess.run([qemu, "-version"], capture_output=True, text=True, check=False).stdout if qemu else ""
    if " version 7.2." not in version:
        print("# no QEMU 7.2 is installed: its list is not compared")
        return set()
    text = subprocess.run([qemu, "-device", driver + ",help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  ([\w-]+)=<(?!child|link)", text, re.M))


def check_row(board, driver, prop, pattern):
    name, value = prop.split(",")[0].split("=")
    if pattern == "OLD":
        pattern = OLD.format(p=name, v=value)
    device = f"{driver},{prop}" + ("" if name == "drive" or driver not in WITH_DISK else ",drive=d")
    status, err = run(board, device)
    good = (status == 0 and not err) if pattern == "ok" else (status == 1 and fnmatch.fnmatchcase(err, "*: " + pattern)
                                                              and "has no property" not in err)
    return "" if good else f"\n# status {status}\n# stderr {err!r}\n# wanted {pattern!r}"


def main():
    n = bad = 0
    for driver, (board, table) in TYPES.items():
        rows = [line.split(" ", 1) for line in table.strip().splitlines() if line]
        checks = [(prop, check_row(board, driver, prop, pattern)) for prop, pattern in rows]
        known = {p.split("=")[0] for prop, _ in rows for p in prop.split(",")}
        missing = peer_properties(driver) - known
        checks.append(("has a row for each of QEMU's", f"\n# {sorted(missing)}" if missing else ""))
        for what, wrong in checks:
            n += 1
            bad += bool(wrong)
            print(f"{'not ok' if wrong else 'ok'} {n} - {driver}: {what}{wrong}")
    print(f"1..{n}")
    return 1 if bad else 0


sys.exit(main())
