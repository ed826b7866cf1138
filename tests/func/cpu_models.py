#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPU models as management programs see them (target/x86/model-list.c, model-table.c, model-props.c, model-query.c, models.c,
feature-names.c, tools/system/qmp_machine.c): names, versions, expansions, what is missing, and what -cpu makes of the answers. Where
QEMU 7.2 is installed each answer is compared with its own; without it the answers must agree with each other."""
import shutil
import subprocess
import sys

import qmp
import rheatest as rt
from qmp import expect
from rheatest import Skip

# A sample that stands without a peer: identity, version behind each other name, some features on and some off.
KNOWN = {
    "Haswell-noTSX-IBRS": ("Haswell-v4", (6, 60, 1), "avx2 fma spec-ctrl", "rtm hle rdseed"),
    "Skylake-Server": ("Skylake-Server-v1", (6, 85, 4), "avx512f avx512vl rtm clwb pku", "avx512vnni xsaves"),
    "Cascadelake-Server-v5": (None, (6, 85, 6), "avx512vnni arch-capabilities rdctl-no xsaves", "rtm avx512-bf16"),
    "Cooperlake": ("Cooperlake-v1", (6, 85, 10), "avx512-bf16 taa-no stibp", "xsaves"),
    "Icelake-Server-noTSX": ("Icelake-Server-v2", (6, 134, 0), "gfni vaes la57 avx512vbmi", "rtm hle sha-ni"),
    "Icelake-Server-v4": (None, (6, 106, 0), "sha-ni rdpid fsrm avx512ifma", "xsaves hle"),
    "Snowridge-v4": (None, (6, 134, 1), "gfni movdiri cldemote xsaves", "mpx avx split-lock-detect"),
    "Denverton": ("Denverton-v1", (6, 95, 1), "sha-ni mpx smap", "avx clwb"),
    "KnightsMill": ("KnightsMill-v1", (6, 133, 0), "avx512er avx512pf avx512-4vnniw", "smap avx512bw"),
    "EPYC-Rome": ("EPYC-Rome-v1", (23, 49, 0), "clwb rdpid umip wbnoinvd", "pku ibrs"),
    "EPYC-Milan": ("EPYC-Milan-v1", (25, 1, 1), "pku pcid fsrm", "avx512f la57"),
    "Dhyana": ("Dhyana-v1", (24, 0, 1), "avx2 smap ibpb", "aes sha-ni pclmulqdq"),
}
# QEMU's software engine leaves these out of every model; here guests have the first, and no engine has the others.
ENGINE = {"vme", "svm", "npt", "nrip-save", "nrip_save", "svme-addr-chk"}
# Newer names, and what is no feature of a model here.
OURS = {"bhi-no", "fbsdp-no", "lfence-always-serializing", "null-sel-clr-base", "pbrsb-no", "psdp-no", "sbdr-ssdp-no"}
# Properties of a CPU object's place and of QEMU's own history.
THEIRS = {"apic-id", "core-id", "die-id", "node-id", "socket-id", "thread-id", "memory", "realized", "fill-mtrr-mask", "legacy-cache",
          "host-cache-info", "hv-apicv", "lbr-fmt", "lbr_fmt", "ucode-rev", "crash-information", "feature-words", "filtered-features"}
# The brand of virtual models, the vendor that "base" begins with, the default that '' stands for, and the sub-leaf that nothing shows.
OTHER_VALUES = {"model-id", "vendor", "hv-vendor-id", "level-func7"}
TYPE = "-x86_64-cpu"


def expand(c, kind, name, **props):
    model = {"name": name, "props": props} if props else {"name": name}
    m = c.call("query-cpu-model-expansion", type=kind, model=model)["model"]
    return m["name"], m["props"]


def switches(props):
    return {k: v for k, v in props.items() if isinstance(v, bool)}


def ask(binary):
    """What a program answers: definitions by name, both expansions of each, types of properties."""
    with qmp.Vm("-M", "none", binary=binary) as vm:
        c = qmp.Client(vm.path)
        version = c.greeting["QMP"]["version"]["qemu"]
        defs = {d["name"]: d for d in c.call("query-cpu-definitions")}
        kinds = {kind: {name: expand(c, kind, name) for name in defs} for kind in ("static", "full")}
        types = {p["name"]: p["type"] for p in c.call("device-list-properties", typename="max" + TYPE)}
        names = {t["name"] for t in c.call("qom-list-types", implements="x86_64-cpu")}
        return {"version": (version["major"], version["minor"]), "defs": defs, "types": types, "names": names, **kinds}


def cpu_answers():
    """The answers agree with each other, and with what is known."""
    a = ask(rt.BIN)
    defs = a["defs"]
    for name, d in defs.items():
        expect(d["typename"] == name + TYPE and d["typename"] in a["names"], f"type of {name}: {d}")
        expect(d["static"] == (name == "base") and d["migration-safe"] == (name not in ("max", "host")) and not d["deprecated"], f"{d}")
        of = d.get("alias-of")
        expect(not of or (of in defs and "alias-of" not in defs[of]), f"{name} is another name of {of}")
        for kind in ("static", "full"):
            made, props = a[kind][name]
            expect(made == ("base" if kind == "static" else name), f"{kind} expansion of {name} is of {made}")
            expect(not of or switches(props) == switches(a[kind][of][1]), f"{name} differs from {of}")
            lacking = [f for f in d["unavailable-features"] if not props[f]]
            expect(not lacking, f"{name} lacks {lacking}, which it has not")
        expect(a["static"][name][1].items() <= {**a["full"][name][1], "lmce": False}.items(), f"forms of {name}")
    max_has = a["full"]["max"][1]
    for name, (of, numbers, on, off) in KNOWN.items():
        props = a["static"][name][1]
        expect(defs[name].get("alias-of") == of, f"{name}: {defs[name]}")
        expect((props["family"], props["model"], props["stepping"]) == numbers, f"{name}: {props}")
        wrong = [f for f in on.split() if not props[f]] + [f for f in off.split() if props[f]]
        expect(not wrong, f"{name}: {wrong}")
    for name, d in defs.items():
        wrong = [f for f in d["unavailable-features"] if max_has[f] and f not in ("monitor",)]
        expect(not wrong, f"{name}: {wrong} are missing, and max has them")
    return f"{len(defs)} names"


def cpu_round_trip():
    """A static expansion given back is the same CPU; properties change what they name, and nothing else."""
    with qmp.Vm("-M", "none") as vm:
        c = qmp.Client(vm.path)
        n = 0
        for name in [d["name"] for d in c.call("query-cpu-definitions") if not d.get("alias-of")]:
            made, props = expand(c, "static", name)
            again = expand(c, "static", made, **props)
            expect(again == (made, props), f"{name}: {[k for k in props if again[1].get(k) != props[k]]} differ")
            n += 1
        plain = expand(c, "full", "Haswell")[1]
        changed = expand(c, "full", "Haswell", **{"rtm": False, "x2apic": True, "sse4_1": False, "min-level": 15, "kvm": False})[1]
        other = {k for k in plain if plain[k] != changed[k]}
        expect(other == {"rtm", "sse4.1", "sse4-1", "sse4_1", "min-level", "level", "kvm"}, f"{other}")
        off = expand(c, "full", "max", migratable=False)
        expect(off[0] == "max" and off[1]["migratable"] is False and "migratable" not in plain, "migratable")
        for props, code, member in (({"foo": True}, "unknown-member", "foo"), ({"avx": 5}, "invalid-value", "avx"),
                                    ({"migratable": True}, "unknown-member", "migratable"), ({"pmu": True}, "not-supported", "pmu"),
                                    ({"kvm-pv-eoi": True}, "not-supported", "kvm-pv-eoi"), ({"level": 9999}, "out-of-range", "level")):
            e = c.try_call("query-cpu-model-expansion", type="full", model={"name": "Haswell", "props": props}).get("error", {})
            expect(e.get("data", {}).get("code") == code and member in e["desc"] and e["data"].get("hint"), f"{props}: {e}")
    return f"{n} models"


def run(text):
    p = subprocess.run([rt.BIN, "-M", "pc", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-cpu", text, "-device", "nothing"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20 * rt.SLOW, check=False)
    return p.stderr


def cpu_check():
    """What is missing is what `enforce` refuses and `check` tells, name by name. (A device that does not exist ends the program.)"""
    with qmp.Vm("-M", "none") as vm:
        missing = {d["name"]: d["unavailable-features"] for d in qmp.Client(vm.path).call("query-cpu-definitions") if not d.get("alias-of")}
    n = 0
    for name in ("Skylake-Server-v1", "Cooperlake-v2", "Icelake-Server-v6", "Snowridge-v1", "KnightsMill-v1", "EPYC-v1", "qemu64-v1", "Nehalem-v2"):
        lack = missing[name]
        said = {mode: run(f"{name},{mode}") for mode in ("enforce", "check=on", "check=off")}
        for mode, text in said.items():
            told = [f for f in lack if f" {f} [" in text]
            expect(told == ([] if mode == "check=off" else lack), f"{name},{mode}: {lack}, and said is\n{text}")
        expect(("cannot be offered in full" in said["enforce"]) == bool(lack), said["enforce"])
        without = run(name + "".join(f",-{f}" for f in lack) + ",enforce")
        expect("cannot be offered" not in without, without)
        n += len(lack)
    expect(n > 20 and not missing["qemu64-v1"] and "avx512f" in missing["Skylake-Server-v1"], f"{missing}")
    return f"{n} features"


def cpu_like_qemu():
    """Every name, version, type, feature and property is QEMU's, but for what is written above."""
    qemu = shutil.which("qemu-system-x86_64")
    if not qemu:
        raise Skip("qemu-system-x86_64 is not installed")
    theirs, ours = ask(qemu), ask(rt.BIN)
    if theirs["version"] != (7, 2):
        raise Skip("another QEMU than 7.2 is installed")
    wrong = []
    if set(theirs["defs"]) != set(ours["defs"]):
        wrong.append(f"names: {set(theirs['defs']) ^ set(ours['defs'])}")
    for name in set(theirs["defs"]) & set(ours["defs"]):
        t, o = theirs["defs"][name], ours["defs"][name]
        wrong += [f"{name}: {k}: {o.get(k)}, not {t.get(k)}" for k in t.keys() | o.keys()
                  if k != "unavailable-features" and o.get(k) != t.get(k)]
        for kind in ("static", "full"):
            (model, t), (made, o) = theirs[kind][name], ours[kind][name]
            rest = {k for k in set(t) ^ set(o) if not (k in OURS and k in o) and not (k in THEIRS or k.startswith("x-")) and k != "lmce"}
            if rest or model != made:
                wrong.append(f"{kind} {name}: {made}, {sorted(rest)} are in one only")
            if name not in ("max", "host"):
                wrong += [f"{kind} {name}: {k}: {o[k]}, not {t[k]}" for k in set(t) & set(o)
                          if o[k] != t[k] and k not in ENGINE and k not in OTHER_VALUES]
        known = set(ours["static"]["max"][1])
        strange = [f for f in ours["defs"][name]["unavailable-features"] if f not in known or f in ENGINE]
        wrong += [f"{name}: missing: {strange}"] if strange else []
    wrong += [f"max: property {n} is of type {ours['types'].get(n)}, not {t}" for n, t in theirs["types"].items()
              if n not in THEIRS and not n.startswith("x-") and ours["types"].get(n) != t]
    expect(not wrong, "\n".join(sorted(wrong)))
    return f"{len(ours['defs'])} names, {len(ours['types'])} properties"


TESTS = [cpu_answers, cpu_round_trip, cpu_check, cpu_like_qemu]
if __name__ == "__main__":
    rt.main(*[t for t in TESTS if len(sys.argv) < 2 or t.__name__ in sys.argv[1:]])
