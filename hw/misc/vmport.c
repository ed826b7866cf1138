/* SPDX-License-Identifier: MIT
 * hw/misc/vmport.c - vmport: the port 5658h through which guests call VMware's hypervisor.
 *
 * Models: "VMware Backdoor I/O Port" (K. Kato), open-vm-tools' backdoor_def.h: a 32-bit access with
 *         EAX = 564D5868h is a command, whose number is in CX, with parameters and results in EAX to EDI.
 * Here: 10 (version). Others come from devices (vmmouse). Does not model: the port for long messages (5659h),
 * other commands: EAX comes back as all ones, as if there were no port. Threads: the platform domain, on the
 * thread of the vCPU.
 */
#include "rhea/hw/vmport.h"
#include "rhea/hw/isa.h"
#include "rhea/target/x86/cpu.h"
#include "rhea/target/x86/portregs.h"

enum { VMPORT_IO = 0x5658, CMD_GETVERSION = 10 };

typedef struct VmportCommand {
    void (*run)(void *opaque, VmportRegs *r);
    void *opaque;
} VmportCommand;

typedef struct Vmport {
    Device dev;
    MemRegion io;
    uint32_t version, product; /* properties */
    VmportCommand command[VMPORT_COMMANDS];
} Vmport;

void vmport_register(Device *dev, unsigned command, void (*run)(void *opaque, VmportRegs *r), void *opaque)
{
    Vmport *s = dev_as(Vmport, dev);
    g_assert(command < VMPORT_COMMANDS && !s->command[command].run);
    s->command[command] = (VmportCommand){ run, opaque };
}

void vmport_execute(Device *dev, VmportRegs *r)
{
    const Vmport *s = dev_as(Vmport, dev);
    unsigned n = r->ecx & 0xffff;
    bool is_command = r->eax == VMPORT_MAGIC && n < VMPORT_COMMANDS && s->command[n].run;
    if (r->eax == VMPORT_MAGIC && !is_command) {
        guest_unimp(dev, "vmport: command %u", n);
    }
    r->eax = UINT32_MAX;
    if (is_command) {
        s->command[n].run(s->command[n].opaque, r);
    }
}

static void get_version(void *opaque, VmportRegs *r)
{
    const Vmport *s = opaque;
    r->eax = s->version;
    r->ebx = VMPORT_MAGIC;
    r->ecx = s->product;
}

/* A register whose lower half was changed has nothing above. */
static void put(uint64_t *reg, uint32_t was, uint32_t now)
{
    *reg = was == now ? *reg : now;
}

/* Returns EAX, and sets it: an IN writes it once more, but not where KVM, told of registers, forgets the IN.
 */
static uint32_t call(Vmport *s)
{
    uint64_t g[16];
    if (!x86_port_regs_get(g)) {
        return UINT32_MAX;
    }
    VmportRegs was = { (uint32_t)g[R_RAX], (uint32_t)g[R_RBX], (uint32_t)g[R_RCX],
                       (uint32_t)g[R_RDX], (uint32_t)g[R_RSI], (uint32_t)g[R_RDI] };
    VmportRegs r = was;
    vmport_execute(&s->dev, &r);
    put(&g[R_RBX], was.ebx, r.ebx);
    put(&g[R_RCX], was.ecx, r.ecx);
    put(&g[R_RDX], was.edx, r.edx);
    put(&g[R_RSI], was.esi, r.esi);
    put(&g[R_RDI], was.edi, r.edi);
    g[R_RAX] = r.eax;
    x86_port_regs_set(g);
    return r.eax;
}

static uint64_t port_read(void *opaque, MemAccess *a)
{
    return a->size == 4 ? call(opaque) : UINT64_MAX;
}

static void port_write(void *opaque, MemAccess *a, uint64_t val G_GNUC_UNUSED)
{
    if (a->size == 4) {
        call(opaque);
    }
}

static bool vmport_realize(Device *dev, Error **errp G_GNUC_UNUSED)
{
    static const MemOps ops = { .read = port_read, .write = port_write, .max = 4, .impl_max = 4 };
    Vmport *s = dev_as(Vmport, dev);
    region_init_io(&s->io, dev, "vmport", &ops, s, 4);
    device_add_region(dev, &s->io);
    vmport_register(dev, CMD_GETVERSION, get_version, s);
    return true;
}

static const Prop vmport_props[] = {
    PROP_U32(Vmport, version, "vmware-vmx-version", 6, 0, UINT32_MAX, "Version that command 10 tells"),
    PROP_U32(Vmport, product, "vmware-vmx-type", 2, 0, UINT32_MAX, "Product that command 10 tells"),
    { 0 },
};
static const IsaOps vmport_isa = { .iobase = { VMPORT_IO }, .irq = -1 };

const DeviceType vmport_type = {
    .name = "vmport",
    .desc = "VMware's port for guests",
    .size = sizeof(Vmport),
    .bus_type = &isa_bus_type,
    .bus_ops = &vmport_isa,
    .category = "Misc",
    .internal = true,
    .props = vmport_props,
    .realize = vmport_realize,
};
