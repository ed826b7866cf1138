/* SPDX-License-Identifier: MIT
 * tools/system/table.c - the options of rhea-system. One row an option; -help and the manual come from here.
 *
 * Names are QEMU's. Rows without a function are options of QEMU 7.2 that are known and refused.
 */
#include "cli.h"
#include "rhea/tools/trace.h"

const char *const option_group_titles[GROUP_COUNT] = {
    [GROUP_STANDARD] = "Standard options",
    [GROUP_BLOCK] = "Block device options",
    [GROUP_USB] = "USB options",
    [GROUP_DISPLAY] = "Display options",
    [GROUP_I386] = "x86 only",
    [GROUP_NETWORK] = "Network options",
    [GROUP_CHARDEV] = "Character device options",
    [GROUP_TPM] = "TPM options",
    [GROUP_BOOT] = "Firmware and kernel",
    [GROUP_DEBUG] = "Debug and expert options",
    [GROUP_OBJECT] = "Generic objects",
};

#define NO_XEN     "there is no Xen support", "-accel tcg"

const Option option_table[] = {
    { "h|help", NULL, GROUP_STANDARD, "print this help and end", opt_help },
    { "version", NULL, GROUP_STANDARD, "print the version and end", opt_version },
    { "machine|M", "[type=]NAME[,PROP=VALUE]...", GROUP_STANDARD,
      "the machine type ('help' lists them; NAME,help its properties)\n"
      "accel=A[:B]... accelerators to try in this order\n"
      "kernel=, initrd=, append=, firmware= as the options of these names\n"
      "memory-backend=ID  guest memory is this -object", opt_machine },
    { "cpu", "MODEL[,+FLAG][,-FLAG][,FLAG=on|off]...", GROUP_STANDARD, "the CPU model ('help' lists models and flags)", opt_cpu },
    { "accel", "NAME[,PROP=VALUE]...", GROUP_STANDARD,
      "the accelerator ('help' lists them); several options, or A:B, are tried in order", opt_accel },
    { "smp", "[cpus=]N[,maxcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N]", GROUP_STANDARD,
      "number and topology of CPUs", opt_smp },
    { "boot", "[order=DRIVES][,once=DRIVES][,menu=on|off][,splash=FILE][,splash-time=MS][,reboot-timeout=MS][,strict=on|off]",
      GROUP_STANDARD, "what the firmware boots: a, b floppy; c disk; d CD; n network", opt_boot },
    { "m", "[size=]MEGS[,slots=0][,maxmem=MEGS]", GROUP_STANDARD,
      "guest memory; suffixes M, G, T (none can be plugged in: maxmem is the size)", opt_memory },
    { "k", "LAYOUT", GROUP_STANDARD, "keyboard layout of the guest, for text and VNC ('help' lists them; default en-us)",
      opt_layout },
    { "device", "DRIVER[,PROP=VALUE]...", GROUP_STANDARD,
      "add a device ('help' lists drivers; DRIVER,help its properties; JSON is taken too); device_add in the\n"
      "monitor does so while the guest runs", opt_device },
    { "name", "[guest=]NAME[,process=NAME][,debug-threads=on|off]", GROUP_STANDARD,
      "the guest's name, and that of the process", opt_name },
    { "uuid", "UUID", GROUP_STANDARD, "the machine's UUID", opt_uuid },
    { "global", "DRIVER.PROP=VALUE | driver=DRIVER,property=PROP,value=VALUE", GROUP_STANDARD,
      "another default for a property of a device type", opt_global },
    { "set", "GROUP.ID.ARG=VALUE", GROUP_STANDARD,
      "change an earlier -chardev, -device, -drive, -netdev or -object (GROUP) that has this id", opt_later },
    { "rtc", "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]", GROUP_STANDARD,
      "date and clock of the guest's real-time clock; DATE is 2006-06-17T16:01:21 or 2006-06-17", opt_rtc },
    { "add-fd", "set=N,fd=M[,opaque=TEXT]", GROUP_STANDARD,
      "an inherited descriptor, which /dev/fdset/N means where an image or a character device names a file", opt_add_fd },
    { "numa", "node[,nodeid=N][,cpus=N[-M]]...[,memdev=ID]", GROUP_STANDARD,
      "a NUMA node of the guest: CPUs by number, and the -object that is its memory (together as much as -m)\n"
      "cpu,node-id=N[,socket-id=N][,die-id=N][,core-id=N][,thread-id=N]    CPUs of a node by their places\n"
      "dist,src=N,dst=N,val=N    how far a node is from another: 10 (itself) to 255 (unreachable)", opt_numa },
    { "mem-path", "PATH", GROUP_STANDARD, "guest memory is this file, or an unnamed file in this folder", opt_mem_path },
    { "mem-prealloc", NULL, GROUP_STANDARD, "allocate guest memory before the guest starts", opt_mem_prealloc },
    { "audio-help", NULL, GROUP_STANDARD, "list the audio drivers, as -audiodev help", opt_audio_help },
    { "audio", "[driver=]DRIVER,model=ac97|hda[,KEY=VALUE]...", GROUP_STANDARD,
      "a sound card and its -audiodev in one ('help' lists the drivers, model=help the cards)", opt_audio },
    { "soundhw", NULL, GROUP_STANDARD, NULL, NULL, "QEMU 7.1 removed it", "-audio DRIVER,model=ac97 or hda" },
    { "audiodev", "[driver=]none|wav|sdl|pa,id=ID[,timer-period=MICROSECONDS][,in.KEY=VALUE]...[,out.KEY=VALUE]...",
      GROUP_STANDARD,
      "a place for sound, which audiodev=ID of a device means ('help' lists the drivers; JSON is taken too)\n"
      "none plays nothing; wav writes a file: path=FILE (qemu.wav); sdl; pa is PulseAudio: server=ADDRESS\n"
      "KEY, for recording (in) and playing (out): frequency, channels, format=u8|s8|u16|s16|u32|s32|f32 of the driver\n"
      "fixed-settings=off (the driver has those of the device that plays first), mixing-engine=off (and only it is heard)\n"
      "buffer-length=MICROSECONDS (sdl, pa: what waits; none and wav have no buffer), buffer-count=N (sdl: it has so many\n"
      "parts), name=SINK, stream-name=NAME, latency=MICROSECONDS (pa), voices=1", opt_audiodev },
    { "drive", "[file=]FILE[,if=ide|virtio|floppy|pflash|none][,format=F][,media=disk|cdrom][,KEY=VALUE]...", GROUP_BLOCK,
      "a disk: an image and the device that uses it (if=none: -device ...,drive=ID does)\n"
      "if=pflash: unit=0 is the firmware, with readonly=on as a rule, unit=1 its variables\n"
      "index=N or bus=N,unit=N (where), id=ID, node-name=NAME, serial=TEXT\n"
      "read-only=on, snapshot=on (changes are forgotten at the end)\n"
      "cache=writeback|none|writethrough|directsync|unsafe, aio=threads|native|io_uring\n"
      "discard=unmap|ignore, detect-zeroes=off|on|unmap\n"
      "rerror=, werror=report|ignore|stop (enospc, for writes: stop when the host has no space)\n"
      "throttling.bps-total, -read, -write, throttling.iops-total, ...=N (limits a second), -max=N, -max-length=SECONDS\n"
      "(bursts), throttling.iops-size=BYTES, throttling.group=NAME\n"
      "stats-account-invalid=, stats-account-failed=on|off (what counts in query-blockstats),\n"
      "stats-intervals.0=SECONDS, .1= ... (and what there was in the last so many seconds)", opt_drive },
    { "blockdev", "[driver=]DRIVER,node-name=NAME[,KEY=VALUE]...", GROUP_BLOCK,
      "a block node, for drive=NAME of a -device; JSON is taken too. Drivers: file, host_device (filename=, aio=,\n"
      "locking=), raw, qcow2 (file= names a node or file.driver=... describes one), null-co", opt_blockdev },
    { "hda", "FILE", GROUP_BLOCK, "the first disk: -drive file=FILE,index=0. A FILE alone is the same", opt_disk_file },
    { "hdb", "FILE", GROUP_BLOCK, "index=1", opt_disk_file },
    { "hdc", "FILE", GROUP_BLOCK, "index=2", opt_disk_file },
    { "hdd", "FILE", GROUP_BLOCK, "index=3", opt_disk_file },
    { "cdrom", "FILE", GROUP_BLOCK, "a CD: -drive file=FILE,index=2,media=cdrom", opt_disk_file },
    { "snapshot", NULL, GROUP_BLOCK, "as snapshot=on of every -drive that does not say otherwise", opt_flag },
    { "fda", "FILE", GROUP_BLOCK, "a disk in floppy drive A: -drive file=FILE,if=floppy,index=0", opt_disk_file },
    { "fdb", "FILE", GROUP_BLOCK, "index=1", opt_disk_file },
    { "mtdblock", NULL, GROUP_BLOCK, NULL, NULL, "PCs have no flash disks", "-hda" },
    { "sd", NULL, GROUP_BLOCK, NULL, NULL, "there is no SD card reader", "-hda" },
    { "pflash", "FILE", GROUP_BLOCK, "a flash chip: -drive if=pflash,file=FILE. The first has the firmware", opt_disk_file },
    { "fsdev", NULL, GROUP_BLOCK, NULL, NULL, "there is no shared file system yet", "-initrd" },
    { "virtfs", NULL, GROUP_BLOCK, NULL, NULL, "there is no shared file system yet", "-initrd" },
    { "iscsi", NULL, GROUP_BLOCK, NULL, NULL, "there is no iSCSI client", "the host's, and -blockdev host_device" },
    { "usb", NULL, GROUP_USB, "a USB controller: as -machine usb=on", opt_usb },
    { "usbdevice", "keyboard|mouse|tablet", GROUP_USB, "a USB device, with -usb: as -device usb-kbd, usb-mouse, usb-tablet", opt_usbdevice },
    { "display", "none|vnc=ADDR|web[=ADDR[:PORT]]|sdl|curses[,charset=ENCODING][,full-screen=on|off][,window-close=on|off][,show-cursor=on|off][,grab-mod=MODIFIERS]", GROUP_DISPLAY,
      "what shows the guest's screen ('help' lists them); sdl is a window, and the default where there is a desktop\n"
      "vnc=ADDR[,KEY=VALUE]... is as -vnc\n"
      "curses shows text modes, the monitor and the serial port on this terminal: Alt-1, Alt-2, Alt-3; charset= is the\n"
      "encoding of the guest's font (CP437)\n"
      "web is a page for browsers: at 127.0.0.1 and the first free port from 6080 on, or at ADDR:PORT; its address, with\n"
      "the token that lets one in, is printed (token-secret=ID: not a random one; also password=on, password-secret=ID,\n"
      "novnc=FOLDER)\n"
      "grab-mod=lctrl-lalt|lshift-lctrl-lalt|rctrl: with them G releases the pointer, F is full screen, U the guest's\n"
      "own size, + and - scale, 1 to 9 show other outputs", opt_display },
    { "nographic", NULL, GROUP_DISPLAY, "no display; serial port and monitor share the terminal", opt_flag },
    { "vga", "std | cirrus | virtio | none", GROUP_DISPLAY, "the graphics card (help: those that there are; pc, q35: std)", opt_vga },
    { "spice", NULL, GROUP_DISPLAY, NULL, NULL, "there is no SPICE server", "-vnc" },
    { "portrait", NULL, GROUP_DISPLAY, NULL, NULL, "pictures are not turned", "the guest's own settings" },
    { "rotate", NULL, GROUP_DISPLAY, NULL, NULL, "pictures are not turned", "the guest's own settings" },
    { "full-screen", NULL, GROUP_DISPLAY, "as full-screen=on of -display", opt_flag },
    { "vnc", "[HOST]:N|unix:PATH|none[,KEY=VALUE]...", GROUP_DISPLAY,
      "serve the guest's screen to VNC clients, at TCP port 5900 + N: password=on, password-secret=ID,\n"
      "websocket=PORT|on, share=allow-exclusive|force-shared|ignore, to=N, id=NAME, display=DEVICE, head=N,\n"
      "key-delay-ms=MS, lossy=on, power-control=on, tls-creds=ID (of -object tls-creds-x509 or tls-creds-anon)", opt_vnc },
    { "no-acpi", NULL, GROUP_I386, "no ACPI: as -machine acpi=off", opt_machine_flag },
    { "no-hpet", NULL, GROUP_I386, "no HPET: as -machine hpet=off", opt_machine_flag },
    { "smbios", "file=FILE | type=N[,FIELD=VALUE]...", GROUP_I386,
      "fields of the SMBIOS tables (types 0, 1, 2, 3, 4, 11, 17), or whole tables from a file", opt_smbios },
    { "acpitable", NULL, GROUP_I386, NULL, NULL, "extra ACPI tables are not taken yet", "the board's own tables" },
    { "win2k-hack", NULL, GROUP_I386, NULL, NULL, "it slows an IDE disk down for one old installer", NULL },
    { "no-fd-bootchk", NULL, GROUP_I386, "boot floppies without a signature: as -machine fd-bootchk=off", opt_machine_flag },
    { "nic", "none | [type=]TYPE[,id=NAME][,mac=ADDR][,model=CARD][,addr=SLOT][,KEY=VALUE]...", GROUP_NETWORK,
      "a network card and its back end in one: -nic user; model=help lists the cards", opt_nic },
    { "netdev", "[type=]TYPE,id=ID[,KEY=VALUE]...", GROUP_NETWORK,
      "a network back end, for netdev=ID of a -device ('help' lists the types; JSON is taken too):\n"
      "user,id=ID[,net=ADDR[/BITS]][,host=ADDR][,dhcpstart=ADDR][,dns=ADDR]\n"
      "[,ipv4=on|off][,ipv6=on|off][,ipv6-prefix=ADDR][,ipv6-prefixlen=N][,ipv6-host=ADDR][,ipv6-dns=ADDR]\n"
      "[,hostname=NAME][,domainname=NAME][,dnssearch=DOMAIN]...[,restrict=on|off]\n"
      "[,tftp=FOLDER][,tftp-server-name=NAME][,bootfile=FILE][,smb=FOLDER[,smbserver=ADDR]]\n"
      "[,hostfwd=[tcp|udp]:[ADDR]:PORT-[ADDR]:PORT]...    host's port to guest's\n"
      "[,guestfwd=[tcp]:ADDR:PORT-CHARDEV|cmd:COMMAND]...    address in the guest's network to the host\n"
      "a network of the guest's own behind the host's sockets: needs no privileges\n"
      "tap,id=ID[,ifname=NAME][,script=FILE|no][,downscript=FILE|no]\n"
      "[,vnet_hdr=on|off][,sndbuf=BYTES][,queues=N][,vhost=on|off][,vhostfd=N]\n"
      "an interface of the host's, made here; tap,id=ID,fd=N | fds=N:N... one that is open;\n"
      "tap,id=ID,helper=COMMAND[,br=BRIDGE] and bridge,id=ID[,br=BRIDGE][,helper=COMMAND] one from a helper\n"
      "l2tpv3,id=ID,src=ADDR,dst=ADDR,txsession=N[,rxsession=N][,udp=on,srcport=PORT,dstport=PORT]\n"
      "[,ipv6=on|off][,txcookie=N,rxcookie=N][,cookie64=on|off][,counter=on|off][,pincounter=on|off]\n"
      "[,offset=BYTES]    a session of an L2TPv3 tunnel\n"
      "hubport,id=ID,hubid=N[,netdev=ID]    a port of a hub\n"
      "x-rhea-switch,id=ID,name=NAME    a switch for all machines of this user that name it\n"
      "vde,id=ID[,sock=PATH][,port=N][,group=NAME][,mode=0700]    a port of a VDE switch\n"
      "passt,id=ID[,path=FILE][,quiet=on|off][,mtu=N][,address=ADDR][,netmask=MASK]\n"
      "[,mac=ADDR][,gateway=ADDR][,interface=NAME][,outbound=ADDR]\n"
      "[,outbound-if4=NAME][,outbound-if6=NAME][,dns=ADDR][,dns-forward=ADDR]\n"
      "[,search=DOMAIN]...[,tcp-ports=SPEC]...\n"
      "[,udp-ports=SPEC]...[,param=ARGUMENT]...\n"
      "[,ipv4=on|off][,ipv6=on|off][,tcp=on|off][,udp=on|off][,icmp=on|off]\n"
      "[,dhcp=on|off][,dhcp-dns=on|off][,dhcp-search=on|off][,ndp=on|off]\n"
      "[,dhcpv6=on|off][,ra=on|off]\n"
      "a network behind the host's sockets by the program passt, which is started, and again when it ends\n"
      "stream,id=ID,addr.type=unix,addr.path=PATH[,server=on|off]\n"
      "[,reconnect=SECONDS]    frames over a stream socket, to another machine or to passt; also\n"
      "addr.type=inet,addr.host=HOST,addr.port=PORT\n"
      "and addr.type=fd,addr.str=N\n"
      "dgram,id=ID,local.type=unix,local.path=PATH,\n"
      "remote.type=unix,remote.path=PATH    frames over datagrams; also\n"
      "local.type=inet,local.host=ADDR,local.port=PORT,\n"
      "remote.type=inet,remote.host=ADDR,remote.port=PORT (a multicast group needs no local)\n"
      "and local.type=fd,local.str=N\n"
      "socket,id=ID,fd=N | listen=[HOST]:PORT | connect=HOST:PORT\n"
      "socket,id=ID,mcast=ADDR:PORT[,localaddr=ADDR] | udp=HOST:PORT,localaddr=[HOST]:PORT\n"
      "the older names of these two", opt_netdev },
    { "net", "none | nic[,netdev=ID][,macaddr=ADDR][,model=CARD][,name=NAME][,addr=SLOT][,vectors=N] | TYPE[,...]",
      GROUP_NETWORK, "the older form: cards and back ends that are not named meet at hub 0", opt_net },
    { "chardev", "BACKEND,id=ID[,mux=on|off][,logfile=FILE][,logappend=on|off][,PROP=VALUE]...", GROUP_CHARDEV,
      "a character device ('help' lists the backends):\n"
      "stdio[,signal=on|off]\n"
      "file,path=FILE[,append=on|off][,input-path=FILE]\n"
      "pty[,path=LINK]\n"
      "socket,path=PATH | [host=HOST,]port=PORT | fd=N[,server=on|off][,wait=on|off]\n"
      "[,reconnect=SECONDS][,to=PORT][,ipv4=on|off][,ipv6=on|off][,nodelay=on|off]\n"
      "[,abstract=on|off][,tight=on|off]\n"
      "pipe,path=PATH    (PATH.in and PATH.out)\n"
      "null\n"
      "ringbuf[,size=BYTES]\n"
      "qemu-vdagent[,mouse=on|off][,clipboard=on|off]", opt_chardev },
    { "tpmdev", NULL, GROUP_TPM, NULL, NULL, "there is no TPM yet", NULL },
    { "bios", "FILE", GROUP_BOOT, "the firmware, by path or name on the -L path", opt_kernel },
    { "kernel", "FILE", GROUP_BOOT, "a Linux, Multiboot or PVH kernel to start", opt_kernel },
    { "append", "TEXT", GROUP_BOOT, "the kernel's command line", opt_kernel },
    { "initrd", "FILE", GROUP_BOOT, "the kernel's initial RAM disk, or Multiboot modules", opt_kernel },
    { "dtb", NULL, GROUP_BOOT, NULL, NULL, "x86 machines have no device tree", "ACPI, which is on" },
    { "shim", NULL, GROUP_BOOT, NULL, NULL, "UEFI secure boot is not supported yet", "-kernel" },
    { "L", "DIR", GROUP_BOOT, "look for firmware here first ('help' prints the whole path)", opt_firmware_dir },
    { "option-rom", NULL, GROUP_BOOT, NULL, NULL, "extra option ROMs are not loaded yet", "romfile= of a PCI -device" },
    { "fw_cfg", "[name=]NAME,file=FILE | string=TEXT", GROUP_BOOT,
      "an item of the firmware configuration device; NAME begins with opt/ by custom", opt_fw_cfg },
    { "serial", "DEV", GROUP_DEBUG,
      "the next serial port: none, null, stdio, pty, file:PATH, pipe:PATH, unix:PATH[,server=on][,wait=off],\n"
      "tcp:[HOST]:PORT[,server=on][,wait=off], chardev:ID, or mon:DEV to share it with the monitor", opt_later },
    { "parallel", "none", GROUP_DEBUG, "no parallel port (there is none)", opt_parallel },
    { "monitor", "DEV", GROUP_DEBUG, "the human monitor, on a DEV as -serial takes it", opt_later },
    { "mon", "[chardev=]ID[,mode=readline|control][,pretty=on|off]", GROUP_DEBUG,
      "a monitor on a -chardev: for people (readline), or QMP for programs (control; pretty indents)", opt_mon },
    { "qmp", "DEV", GROUP_DEBUG, "the machine protocol (QMP), on a DEV as -serial takes it", opt_qmp },
    { "qmp-pretty", "DEV", GROUP_DEBUG, "the same, with indented output", opt_qmp },
    { "debugcon", "DEV", GROUP_DEBUG, "a debug console: what the guest writes to port 0xe9", opt_later },
    { "qtest", "DEV", GROUP_DEBUG, "the protocol of -accel test, for programs that test devices", opt_later },
    { "qtest-log", "none", GROUP_DEBUG, "the qtest protocol is not logged (/dev/null means the same)", opt_qtest_log },
    { "pidfile", "FILE", GROUP_DEBUG, "write the process id here, lock it, remove it at the end", opt_path },
    { "S", NULL, GROUP_DEBUG, "do not start the CPUs ('cont' in the monitor does)", opt_flag },
    { "d", "ITEM[,ITEM]...", GROUP_DEBUG, "what to log ('help' lists the items); trace:PATTERN: trace events, as -trace", opt_log },
    { "D", "FILE", GROUP_DEBUG, "the log goes here instead of stderr", opt_logfile },
    { "dfilter", NULL, GROUP_DEBUG, NULL, NULL, "logs cannot be limited to addresses yet", "-d with fewer items" },
    { "seed", "N", GROUP_DEBUG, "give the guest's RDRAND and RDSEED a repeatable sequence", opt_seed },
    { "icount", "[shift=]N|auto[,align=on|off][,sleep=on|off]", GROUP_DEBUG,
      "virtual time is the number of executed instructions times 2^N ns: runs without input repeat exactly", opt_icount },
    { "no-reboot", NULL, GROUP_DEBUG, "end when the guest reboots", opt_flag },
    { "no-shutdown", NULL, GROUP_DEBUG, "stop, but do not end, when the guest powers off", opt_flag },
    { "action", "reboot=reset|shutdown | shutdown=poweroff|pause | panic=pause|shutdown|exit-failure|none | watchdog=ACTION",
      GROUP_DEBUG, "what to do when the guest does these things; ACTION: as for -watchdog-action", opt_action },
    { "daemonize", NULL, GROUP_DEBUG, "go to the background once the machine is ready", opt_flag },
    { "echr", "N", GROUP_DEBUG, "the escape key of shared terminals, as a code (1 is Ctrl-A)", opt_echr },
    { "msg", "[timestamp=on|off][,guest-name=on|off][,x-rhea-code=on|off]", GROUP_DEBUG,
      "what messages begin with; x-rhea-code, before the others: an error ends with its code and the member at fault", opt_msg },
    { "overcommit", "[mem-lock=on|off|on-fault][,cpu-pm=on|off]", GROUP_DEBUG,
      "mem-lock: keep all memory of this process in RAM; cpu-pm: idle CPUs of KVM stay in the guest", opt_overcommit },
    { "runas", "USER", GROUP_DEBUG, "change to this user (name or UID:GID) once the machine is ready", opt_path },
    { "chroot", "DIR", GROUP_DEBUG, "change the root directory once the machine is ready", opt_path },
    { "nodefaults", NULL, GROUP_DEBUG, "no serial port, no monitor by default", opt_flag },
    { "no-user-config", NULL, GROUP_DEBUG, "read no configuration files (there are none)", opt_flag },
    { "dump-config", NULL, GROUP_DEBUG, "print what the options mean, as JSON, and end: a file for -readconfig", opt_flag },
    { "enable-kvm", NULL, GROUP_DEBUG, "the same as -accel kvm", opt_flag },
    { "s", NULL, GROUP_DEBUG, "as -gdb tcp::1234", opt_gdb },
    { "gdb", "DEV", GROUP_DEBUG,
      "serve GDB on a DEV as -serial takes it ('none': nowhere); tcp:[HOST]:PORT listens there. With -S the\n"
      "debugger sees the first instruction ('target remote :PORT', 'continue')", opt_gdb },
    { "singlestep", NULL, GROUP_DEBUG, NULL, NULL, "code runs in blocks", "-d exec,nochain" },
    { "one-insn-per-tb", NULL, GROUP_DEBUG, NULL, NULL, "code runs in blocks", "-d exec,nochain" },
    { "preconfig", NULL, GROUP_DEBUG, NULL, NULL, "QMP begins when the machine is built", "-S to configure before the CPUs run" },
    { "xen-domid", NULL, GROUP_DEBUG, NULL, NULL, NO_XEN },
    { "xen-attach", NULL, GROUP_DEBUG, NULL, NULL, NO_XEN },
    { "xen-domid-restrict", NULL, GROUP_DEBUG, NULL, NULL, NO_XEN },
    { "loadvm", NULL, GROUP_DEBUG, NULL, NULL, "machine snapshots are not stored yet", "a fresh boot" },
    { "incoming", NULL, GROUP_DEBUG, NULL, NULL, "there is no migration yet", "a fresh boot" },
    { "only-migratable", NULL, GROUP_DEBUG, NULL, NULL, "there is no migration yet", NULL },
    { "watchdog-action", "reset|shutdown|poweroff|inject-nmi|pause|debug|none", GROUP_DEBUG,
      "what to do when a watchdog expires (-device i6300esb, -device ib700, that of q35's chipset)", opt_watchdog_action },
    { "watchdog", NULL, GROUP_DEBUG, NULL, NULL, "it went away in QEMU 7.2", "-device i6300esb or -device ib700" },
    { "readconfig", "FILE", GROUP_DEBUG,
      "options from a file: JSON as -dump-config prints it, or sections [group \"id\"] of lines key = \"value\"", opt_readconfig },
    { "writeconfig", NULL, GROUP_DEBUG, NULL, NULL, "configuration files are not written", "-dump-config" },
    { "sandbox", "on|off[,obsolete=deny|allow][,elevateprivileges=deny|allow|children][,spawn=deny|allow]\n"
      "[,resourcecontrol=deny|allow]", GROUP_DEBUG,
      "allow the system calls that the machine needs; any other ends the process, and is named (default: off)\n"
      "obsolete=allow           those of old C libraries, too\n"
      "elevateprivileges=allow  changes of user and group; children: only by programs, which get no privileges\n"
      "spawn=allow              new processes and programs\n"
      "resourcecontrol=allow    changes of priority and CPU affinity", opt_sandbox },
    { "prom-env", NULL, GROUP_DEBUG, NULL, NULL, "PCs have no Open Firmware", "-fw_cfg" },
    { "semihosting", NULL, GROUP_DEBUG, NULL, NULL, "x86 has no semihosting", "-debugcon" },
    { "semihosting-config", NULL, GROUP_DEBUG, NULL, NULL, "x86 has no semihosting", "-debugcon" },
    { "old-param", NULL, GROUP_DEBUG, NULL, NULL, "it is for old ARM kernels", "-append" },
    { "trace", TRACE_OPTION_ARGS, GROUP_DEBUG,
      "switch trace events on ('help' lists them; PATTERN may have * and ?, and -PATTERN switches off)\n"
      "events=FILE  a pattern on each line; file=FILE  where the log goes, as -D", opt_trace },
    { "plugin", NULL, GROUP_DEBUG, NULL, NULL, "there are no plugins", "-d ITEM" },
    { "tb-size", NULL, GROUP_DEBUG, NULL, NULL, "it is a property of the accelerator", "-accel tcg,tb-size=MiB" },
    { "async-teardown", NULL, GROUP_DEBUG, NULL, NULL, "memory is given back by the kernel at once", NULL },
    { "compat", NULL, GROUP_DEBUG, NULL, NULL, "nothing that QMP offers is deprecated", "no option: leave it out" },
    { "dump-vmstate", NULL, GROUP_DEBUG, NULL, NULL, "there is no migration yet", NULL },
    { "enable-sync-profile", NULL, GROUP_DEBUG, NULL, NULL, "locks are not profiled", "perf(1)" },
    { "perfmap", NULL, GROUP_DEBUG, NULL, NULL, "no code is generated yet", "perf(1)" },
    { "jitdump", NULL, GROUP_DEBUG, NULL, NULL, "no code is generated yet", "perf(1)" },
    { "object", "TYPE,id=ID[,PROP=VALUE]...", GROUP_OBJECT,
      "guest memory of a certain kind, for -machine memory-backend=ID, I/O limits that drives share, a password\n"
      "or key ('help' lists the types; TYPE,help their properties; JSON is taken too):\n"
      "memory-backend-ram,id=ID,size=SIZE    anonymous memory\n"
      "memory-backend-file,id=ID,size=SIZE,mem-path=PATH\n"
      "[,align=SIZE][,readonly=on|off][,discard-data=on|off]\n"
      "a file, or an unnamed file in a folder; on hugetlbfs: huge pages\n"
      "memory-backend-memfd,id=ID,size=SIZE\n"
      "[,hugetlb=on|off][,hugetlbsize=SIZE][,seal=on|off]\n"
      "a file of the kernel's, with huge pages if wanted\n"
      "all: [,share=on|off][,prealloc=on|off][,prealloc-threads=N][,reserve=on|off][,merge=on|off]\n"
      "[,dump=on|off][,host-nodes=N|N-M]...\n"
      "[,policy=default|preferred|bind|interleave]\n"
      "throttle-group,id=ID[,limits.LIMIT=N]...[,x-LIMIT=N]...\n"
      "for -drive throttling.group=ID; LIMIT is that of -drive throttling.LIMIT=N\n"
      "secret,id=ID,file=FILE|data=TEXT[,format=raw|base64][,keyid=ID,iv=BASE64]\n"
      "encrypted (AES-256-CBC) when keyid= names the secret that is the key", opt_object },
    { NULL },
};
