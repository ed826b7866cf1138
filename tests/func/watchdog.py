#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's generic kernel lets its watchdogs expire: hw/watchdog/i6300esb.c, ib700.c, hw/i386/tco.c and ich9-lpc.c
(noreboot), and the actions of system/machine_request.c, -watchdog-action, watchdog-set-action, set-action."""
import os
import sys
import tempfile

import qmp
import rheatest as rt
from rheatest import guest_assets

# A driver is told that it is alive once, and no more.
START = """insmod /lib/modules/{last}.ko {arg}
cat /sys/class/watchdog/watchdog0/identity || true
exec 3>/dev/watchdog
echo x >&3
echo waits now
{then}
sleep 100000
"""


class Guest:
    """A guest whose watchdog runs out; `then`: what its script does meanwhile."""

    def __init__(self, modules, arg, *args, board="pc", then="", path="drivers/watchdog/"):
        self.top = tempfile.TemporaryDirectory(prefix="rhea-watchdog-")
        tree, self.sock = os.path.join(self.top.name, "tree"), os.path.join(self.top.name, "qmp")
        rt.module_tree(tree, "generic", [m if "/" in m else path + m for m in modules])
        names = [m.split("/")[-1] for m in modules]
        before = "".join(f"insmod /lib/modules/{m}.ko\n" for m in names[:-1])
        self.initrd = rt.once("set -e\n" + before + START.format(last=names[-1], arg=arg, then=then), tree)
        self.vm = rt.linux(guest_assets.kernel("generic"), self.initrd, "", *args, "-qmp", f"unix:{self.sock},server=on,wait=off",
                           board=board, timeout=300)

    def __enter__(self):
        self.vm.__enter__()
        self.qmp = qmp.Client(self.sock)
        self.qmp.s.settimeout(300 * rt.SLOW)
        return self

    def __exit__(self, *exc):
        try:
            self.vm.__exit__(*exc)
        finally:
            os.unlink(self.initrd)
            self.top.cleanup()

    def event(self, name, **data):
        told = self.qmp.event(name).get("data", {})
        qmp.expect(data.items() <= told.items(), f"{name}: {told}, not {data}")


def watchdog_esb():
    """The machine pauses, goes on when it is told to, and ends at the second time."""
    with Guest(["watchdog", "i6300esb"], "heartbeat=2", "-device", "i6300esb", "-watchdog-action", "pause",
               then="read line < /dev/console; echo alive >&3; echo again $line") as g:
        g.vm.expect("i6300ESB timer[^$]*waits now")
        g.event("WATCHDOG", action="pause")
        g.event("STOP")
        qmp.expect(g.qmp.call("query-status") == {"running": False, "singlestep": False, "status": "watchdog"}, "the state")
        g.qmp.call("watchdog-set-action", action="poweroff")
        g.qmp.call("cont")
        g.vm.send("please\n")
        g.vm.expect("again")
        g.event("WATCHDOG", action="poweroff")
        g.event("SHUTDOWN", guest=True, reason="guest-shutdown")
        g.vm.wait(0)


def watchdog_esb_nmi():
    """Linux says what it thinks of an NMI that nobody explains."""
    with Guest(["watchdog", "i6300esb"], "heartbeat=2", "-device", "i6300esb,id=w", "-action", "watchdog=inject-nmi", board="q35") as g:
        g.vm.expect("waits now")
        g.event("WATCHDOG", action="inject-nmi")
        g.vm.expect("NMI received for unknown reason")
        qmp.expect(g.qmp.call("query-status")["status"] == "running", "it goes on")


def watchdog_ib700():
    """Rebooted, which -no-reboot makes the end."""
    with Guest(["watchdog", "ib700wdt"], "timeout=2", "-device", "ib700") as g:
        g.vm.expect("waits now")
        g.event("WATCHDOG", action="reset")
        g.event("SHUTDOWN", guest=True, reason="guest-reset")
        g.vm.wait(0)


ITCO = ["watchdog", "drivers/mfd/lpc_ich", "drivers/mfd/intel_pmc_bxt", "iTCO_vendor_support", "iTCO_wdt"]


def watchdog_tco():
    """The chipset's own, with its first timeout, presses the power button at the second; then does nothing."""
    with Guest(ITCO, "heartbeat=4", "-global", "ICH9-LPC.noreboot=false", board="q35",
               then="echo count $(cat /sys/class/watchdog/watchdog0/timeleft)") as g:
        g.qmp.call("set-action", watchdog="shutdown")
        g.vm.expect(r"iTCO_wdt[^$]*waits now")
        g.event("WATCHDOG", action="shutdown")
        g.event("POWERDOWN")
        g.qmp.call("human-monitor-command", command_line="watchdog_action none")
        g.qmp.call("quit")
        g.vm.wait(0)


def watchdog_tco_strap():
    """A board that never reboots by itself: Linux finds that out, and leaves the timer alone."""
    with Guest(ITCO, "heartbeat=4 || true; echo done", board="q35") as g:
        g.vm.expect("unable to reset NO_REBOOT flag, device disabled by hardware/BIOS")


rt.main(*(globals()[n] for n in sys.argv[1:] or ("watchdog_esb", "watchdog_esb_nmi", "watchdog_ib700", "watchdog_tco",
                                             "watchdog_tco_strap")))
