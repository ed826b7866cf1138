#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A public client of QMP has its basic session: that of Ganeti (Debian's package ganeti-3.0, hv_kvm/monitor.py), whose code is
taken as it is; only the parts of Ganeti that it imports for other purposes are replaced by what it uses of them."""
import importlib.util
import json
import socket
import sys
import tempfile
import types

import qmp
import rheatest as rt
from qmp import expect


def ganeti_monitor():
    path = rt.asset(rt.guest_assets.from_package, "ganeti-3.0", "usr/share/ganeti/3.0/ganeti/hypervisor/hv_kvm/monitor.py")

    def module(name, **members):
        m = types.ModuleType(name)
        m.__dict__.update(members)
        sys.modules[name] = m
        return m

    class HypervisorError(Exception):
        pass

    class Slots(list):
        """Of bitarray what GetFreePCISlot() uses."""

        def __init__(self, n):
            super().__init__([False] * n)

        def setall(self, value):
            self[:] = [value] * len(self)

    def send_fds(sock, data, fds):
        socket.send_fds(sock, [data], fds)

    top = module("ganeti")
    top.errors = module("ganeti.errors", HypervisorError=HypervisorError, ProgrammerError=RuntimeError)
    top.utils = module("ganeti.utils", SendFds=send_fds, GetFreeSlot=lambda slots: slots.index(False), ErrnoOrStr=str)
    top.constants = module("ganeti.constants", QEMU_PCI_SLOTS=32)
    top.serializer = module("ganeti.serializer", LoadJson=json.loads, DumpJson=lambda data: json.dumps(data).encode() + b"\n")
    module("bitarray", bitarray=Slots)
    spec = importlib.util.spec_from_file_location("ganeti_monitor", path)
    monitor = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(monitor)
    monitor.MonitorSocket._SOCKET_TIMEOUT = 60 * rt.SLOW
    return monitor, HypervisorError


def ganeti():
    monitor, error = ganeti_monitor()
    with qmp.Vm("-M", "pc", "-m", "32M", "-blockdev", "null-co,node-name=d,size=1M", "-device", "virtio-blk-pci,drive=d,id=disk0") as vm:
        qmp.Client(vm.path).close()  # it listens
        with monitor.QmpConnection(vm.path) as c:
            expect(c.version >= (7, 2, 0) and c.package.startswith("Rhea"), f"version {c.version}, {c.package}")
            expect("query-status" in c.supported_commands, "query-commands")
            c.Execute("cont")
            expect(c.Execute("query-status")["status"] == "running", "query-status")  # events between are skipped
            with tempfile.TemporaryFile() as f:
                fdset = c._AddFd(f.fileno())
                c._GetFd(f.fileno(), "name")
            expect(any(s["fdset-id"] == fdset for s in c.Execute("query-fdsets")), "add-fd")
            c._RemoveFdset(fdset)
            for name, arguments, text in (("device_del", {"id": "disk9"}, "DeviceNotFound"), ("qom-list", {}, "'path' is missing")):
                try:
                    c.Execute(name, arguments)
                except error as e:
                    expect(text in str(e), f"{name}: {e}")
                else:
                    raise rt.Failure(f"{name} {arguments} was not refused")
        c = monitor.QmpConnection(vm.path)  # these connect and go, each for itself
        c.StopGuestEmulation()
        c.ContinueGuestEmulation()
        expect(c.HasDevice("disk0") and not c.HasDevice("disk1"), "query-pci")
        expect(c.GetFreePCISlot() > 1, "query-pci's slots")


if __name__ == "__main__":
    rt.main(ganeti)
