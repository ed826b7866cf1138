#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Jobs as clients see them: blockdev-create as libvirt uses it for an overlay (monitor/qmp_job.c, tools/system/qmp_create.c,
block/qcow2-create.c), against QEMU 7.2's order of events and messages where that is installed."""
import os
import re
import shutil
import subprocess
import sys

import qmp
import rheatest as rt
from qmp import expect

TOOLS = os.path.dirname(os.path.dirname(rt.BIN))
IMG = os.path.join(TOOLS, "img/rhea-img")


def states(c, job, until="concluded"):
    """Of JOB_STATUS_CHANGE up to one."""
    seen = []
    while not seen or seen[-1] != until:
        data = c.event("JOB_STATUS_CHANGE")["data"]
        expect(data["id"] == job, f"the job's name: {data}")
        seen.append(data["status"])
    return seen


def create(c, job, fails=False, **options):
    """The job's way; it is dismissed. Its error."""
    c.call("blockdev-create", job_id=job, options={k.replace("_", "-"): v for k, v in options.items()})
    way = states(c, job)
    info, = c.call("query-jobs")
    expect((info["id"], info["type"], info["status"]) == (job, "create", "concluded"), f"{info}")
    expect(("error" in info) == fails and (fails or info["current-progress"] == info["total-progress"]), f"{info}")
    expect(c.call("query-block-jobs") == [], "it is no job of a disk's")
    c.call("job-dismiss", id=job)
    expect(way + states(c, job, "null") == (["created", "running", "aborting", "concluded", "null"] if fails else
                                            ["created", "running", "waiting", "pending", "concluded", "null"]), f"{way}")
    expect(c.call("query-jobs") == [], "it is forgotten")
    return info.get("error")


def overlay(c, folder, name, base, **more):
    """As libvirt makes one: the file, its node, the format inside."""
    path = os.path.join(folder, name)
    create(c, "create-0", driver="file", filename=path, size=0)
    c.call("blockdev-add", driver="file", filename=path, node_name=name)
    create(c, "create-1", driver="qcow2", file=name, size=16 << 20, backing_file=base, backing_fmt="qcow2", **more)
    c.call("blockdev-add", driver="qcow2", file=name, node_name="top-" + name, backing=None)
    return path


def check(path):
    """Sound, by ours and by QEMU's tool."""
    tools = [IMG] + ([shutil.which("qemu-img")] if shutil.which("qemu-img") else [])
    return [subprocess.run([t, "check", path], capture_output=True, text=True, check=True).stdout for t in tools] and \
        subprocess.run([IMG, "info", path], capture_output=True, text=True, check=True).stdout


def job_create():
    """Images that are made while the machine runs."""
    with qmp.Vm("-M", "none") as vm:
        c = qmp.Client(vm.path)
        base = os.path.join(vm.dir, "base")
        subprocess.run([IMG, "create", "-q", "-f", "qcow2", base, "16M"], check=True)
        path = overlay(c, vm.dir, "overlay", base, cluster_size=131072, lazy_refcounts=True, compression_type="zstd")
        node = next(n for n in c.call("query-named-block-nodes") if n["node-name"] == "top-overlay")
        expect(node["image"]["virtual-size"] == 16 << 20 and node["drv"] == "qcow2", f"{node}")
        c.call("blockdev-del", node_name="top-overlay")
        # What was in the node before is gone.
        create(c, "again", driver="qcow2", file="overlay", size=1 << 20, version="v2")
        c.call("blockdev-del", node_name="overlay")
        text = check(path)
        expect("1 MiB" in text and "compat: 0.10" in text and "backing" not in text, text)
        path = overlay(c, vm.dir, "other", base, extended_l2=True, refcount_bits=8, preallocation="metadata")
        for n in ("top-other", "other"):
            c.call("blockdev-del", node_name=n)
        text = check(path)
        expect("extended l2: true" in text and "refcount bits: 8" in text and f"backing file: {base}" in text, text)
        raw = os.path.join(vm.dir, "raw")
        create(c, "full", driver="file", filename=raw, size=3 << 20, preallocation="full")
        expect(os.stat(raw).st_size == 3 << 20 and os.stat(raw).st_blocks * 512 >= 3 << 20, "all of it is there")
        create(c, "inline", driver="qcow2", file={"driver": "file", "filename": raw}, size=1 << 20)
        expect("1 MiB" in check(raw), "a node described in place")
        # What fails, fails as a job.
        for want, options in (("no node 'nope'", {"driver": "qcow2", "file": "nope", "size": 1 << 20}),
                              ("cannot create", {"driver": "file", "filename": "/nowhere/x", "size": 0}),
                              ("power of two", {"driver": "qcow2", "file": {"driver": "file", "filename": raw}, "size": 1 << 20, "cluster-size": 12345}),
                              ("no metadata", {"driver": "file", "filename": raw, "size": 0, "preallocation": "metadata"}),
                              ("multiple of 512", {"driver": "qcow2", "file": {"driver": "file", "filename": raw}, "size": 1000})):
            text = create(c, "bad", fails=True, **options)
            expect(want in text, f"{options}: {text}")
        for want, args in (("Invalid job ID", {"job-id": "-"}), ("'job-id' is missing", {}), ("must be one of", {"job-id": "a", "driver": "vmdk"})):
            options = {"driver": args.pop("driver", "file"), "filename": raw, "size": 0}
            args = {**args, "options": options}
            m = c.try_call("blockdev-create", **args)
            expect(want in m["error"]["desc"], f"{args}: {m}")


def job_states():
    """What jobs accept in which state; the words are QEMU's."""
    binaries = [rt.BIN] + ([shutil.which("qemu-system-x86_64")] if shutil.which("qemu-system-x86_64") else [])
    answers = []
    for binary in binaries:
        said = []
        with qmp.Vm("-M", "none", binary=binary) as vm:
            c = qmp.Client(vm.path)
            options = {"driver": "file", "filename": os.path.join(vm.dir, "f"), "size": 512}
            said.append(c.try_call("query-block-jobs")["return"])
            c.call("blockdev-create", job_id="j", options=options)
            said.append(states(c, "j"))
            said.append(c.try_call("blockdev-create", job_id="j", options=options)["error"]["desc"])
            for verb in ("pause", "resume", "cancel", "complete", "finalize"):
                said.append(c.try_call("job-" + verb, id="j")["error"]["desc"])
                said.append(c.try_call("job-" + verb, id="k")["error"]["desc"])
            said.append(c.try_call("job-dismiss", id="j")["return"])
            said.append(states(c, "j", "null"))
            said.append(c.try_call("job-dismiss", id="j")["error"]["desc"])
        answers.append([re.sub(r"( \(.*\)$|: 'j'.*|: 'k'.*)", "", s) if isinstance(s, str) else s for s in said])
    expect(len(answers[0]) == 16, f"{answers[0]}")
    for other in answers[1:]:
        expect(answers[0] == other, "ours and QEMU's differ:\n" + "\n".join(f"{a} | {b}" for a, b in zip(answers[0], other) if a != b))


ALL = [job_create, job_states]

if __name__ == "__main__":
    rt.main(*[t for t in ALL if len(sys.argv) == 1 or t.__name__ in sys.argv[1:]])
