# SPDX-License-Identifier: MIT
"""An ELF file of symbols and call-frame information for a Linux kernel that has no debug package at hand.

Symbols come from /proc/kallsyms of the guest, booted with nokaslr. The kernel keeps no frame pointers; how to unwind each
instruction stands in its ORC tables (arch/x86/include/asm/orc_types.h, Linux 4.14 to 6.2), which are read from the guest's
memory and written as .debug_frame (DWARF 4, section 6.4).
"""
import bisect
import re
import struct

RBP, RSP, RIP = 6, 7, 16                     # DWARF's numbers
ORC_BP, ORC_SP, ORC_PREV_SP = 4, 5, 1        # ORC's
ORC_BYTES = 6


def parse_kallsyms(text):
    """[(address, type, name)] of the kernel itself, sorted."""
    found = re.findall(r"^([0-9a-f]{16}) ([a-zA-Z]) (\S+)$", text, re.M)
    syms = sorted((int(a, 16), t, n) for a, t, n in found)
    return [s for s in syms if s[0] >= 0xffffffff80000000]


def uleb(v):
    out = bytearray()
    while True:
        out.append(v & 0x7f | (0x80 if v > 0x7f else 0))
        v >>= 7
        if not v:
            return bytes(out)


def frame_rule(entry):
    """The instructions for one ORC entry: where the caller's frame is."""
    sp_offset, bp_offset, bits = struct.unpack("<hhH", entry)
    sp_reg, bp_reg, kind, end = bits & 15, bits >> 4 & 15, bits >> 8 & 3, bits >> 10 & 1
    if end or kind or sp_reg not in (ORC_BP, ORC_SP) or sp_offset < 0:
        return b"\x07" + uleb(RIP)           # undefined: an entry from user space, or unknown
    out = b"\x0c" + uleb(RSP if sp_reg == ORC_SP else RBP) + uleb(sp_offset)
    out += bytes([0x80 | RIP, 1])            # the return address is right below
    if bp_reg == ORC_PREV_SP and bp_offset % 8 == 0 and bp_offset < 0:
        return out + bytes([0x80 | RBP]) + uleb(-bp_offset // 8)
    return out + b"\x08" + uleb(RBP)         # unchanged


def debug_frame(functions, ips, entries):
    cie = b"\xff\xff\xff\xff\x03\0" + uleb(1) + b"\x78" + uleb(RIP) + b"\x0c" + uleb(RSP) + uleb(8) + bytes([0x80 | RIP, 1])
    cie += b"\0" * (-(len(cie) + 4) % 8)
    out = bytearray(struct.pack("<I", len(cie)) + cie)
    for start, end in functions:
        at = start
        code = bytearray()
        for i in range(max(bisect.bisect_right(ips, start) - 1, 0), len(ips)):
            if ips[i] >= end:
                break
            if ips[i] > at:
                code += b"\x04" + struct.pack("<I", ips[i] - at)
                at = ips[i]
            code += frame_rule(entries[i * ORC_BYTES:(i + 1) * ORC_BYTES])
        fde = struct.pack("<IQQ", 0, start, end - start) + bytes(code)
        fde += b"\0" * (-(len(fde) + 4) % 8)
        out += struct.pack("<I", len(fde)) + fde
    return bytes(out)


def write_elf(path, kallsyms, read_memory):
    """read_memory(address, length) gives the guest's memory."""
    syms = parse_kallsyms(kallsyms)
    by_name = {n: a for a, t, n in syms}
    text, etext, end = by_name["_text"], by_name["_etext"], by_name["_end"]
    code = [s for s in syms if s[1] in "tTwW"]
    ip_at, ip_end = by_name["__start_orc_unwind_ip"], by_name["__stop_orc_unwind_ip"]
    raw = read_memory(ip_at, ip_end - ip_at)
    ips = [ip_at + 4 * i + v for i, (v,) in enumerate(struct.iter_unpack("<i", raw))]
    entries = read_memory(by_name["__start_orc_unwind"], len(ips) * ORC_BYTES)
    starts = sorted({a for a, t, n in code if a < end})
    functions = [(a, b) for a, b in zip(starts, starts[1:]) if b - a < 1 << 20]
    frames = debug_frame(functions, ips, entries)

    names = bytearray(b"\0")
    table = bytearray(24)
    addresses = sorted({a for a, t, n in syms})
    for a, t, n in syms:
        if a >= end:
            continue
        function = t in "tTwW"
        nxt = addresses[min(bisect.bisect_right(addresses, a), len(addresses) - 1)]
        info = (1 if t.isupper() else 0) << 4 | (2 if function else 1)
        # Code of .init.text lies behind the data: it belongs to the section that holds it.
        section = 1 if a < etext else 2
        table += struct.pack("<IBBHQQ", len(names), info, 0, 3 if function and section == 2 else section, a, nxt - a)
        names += n.encode() + b"\0"
    init = min((a for a, t, n in code if a >= etext), default=end)
    init_end = max((a for a, t, n in code if a < end), default=init) + 4096
    sh_names = b"\0.text\0.data\0.init.text\0.debug_frame\0.symtab\0.strtab\0.shstrtab\0"

    def name(n):
        return sh_names.index(b"\0" + n.encode() + b"\0") + 1

    body = bytearray(64)

    def put(data):
        while len(body) % 16:
            body.append(0)
        at = len(body)
        body.extend(data)
        return at

    sections = [struct.pack("<IIQQQQIIQQ", *([0] * 10))]

    def section(n, kind, flags, addr, offset, size, link=0, info=0, align=1, entsize=0):
        sections.append(struct.pack("<IIQQQQIIQQ", name(n), kind, flags, addr, offset, size, link, info, align, entsize))

    section(".text", 8, 6, text, 64, etext - text)               # NOBITS: the bytes are the guest's
    section(".data", 8, 3, etext, 64, init - etext)
    section(".init.text", 8, 6, init, 64, init_end - init)
    section(".debug_frame", 1, 0, 0, put(frames), len(frames), align=8)
    section(".symtab", 2, 0, 0, put(table), len(table), 6, 1, 8, 24)
    section(".strtab", 3, 0, 0, put(names), len(names))
    section(".shstrtab", 3, 0, 0, put(sh_names), len(sh_names))
    headers = put(b"".join(sections))
    body[:64] = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, text, 0, headers, 0, 64, 0, 0, 64,
                                                                len(sections), 7)
    with open(path, "wb") as f:
        f.write(body)
