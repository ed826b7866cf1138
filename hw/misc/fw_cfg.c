/* SPDX-License-Identifier: MIT
 * hw/misc/fw_cfg.c - the paravirtual device through which firmware asks the machine about itself.
 *
 * Models: the fw_cfg interface as its public specification describes it: selector register (510h, 16
 *         bits), data register (511h, 8 bits), DMA address register (514h, two big-endian halves), the
 *         items of the file directory, and the DMA command block (read, write, skip, select; error bit). Only
 *         few files can be written, and none beyond its end.
 * Does not model: the memory-mapped variant.
 * Threads: registers and DMA run in the device's domain; items are added on the main loop at set-up.
 */
#include "rhea/hw/fw_cfg.h"
#include "rhea/system/dma.h"
#include "rhea/system/machine.h"
#include "rhea/util/errorcode.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DMA_ERROR = 1 << 0, DMA_READ = 1 << 1, DMA_SKIP = 1 << 2, DMA_SELECT = 1 << 3, DMA_WRITE = 1 << 4 };
enum { ID_TRADITIONAL = 1 << 0, ID_DMA = 1 << 1, PORT_BASE = 0x510, PORT_DMA = 0x514 };

typedef struct FwCfgItem {
    uint16_t key;
    char *name; /* files only */
    GBytes *data;
    FwCfgHook hook;
    void *hook_opaque;
    uint8_t *store; /* what `data` is made of, where the guest may write; else NULL */
    FwCfgWritten written;
    void *written_opaque;
    bool file_backed; /* pages of `data` may be dropped */
} FwCfgItem;

typedef struct FwCfg {
    Device dev;
    MemRegion ports, dma_port; /* wiring */
    DmaContext dma;
    GHashTable *items;         /* contents: key -> FwCfgItem */
    GPtrArray *files;          /* FwCfgItem *, in order of their selectors */
    FwCfgItem *current;        /* derived from `selector` */
    uint16_t selector;         /* guest-visible state */
    uint32_t offset;
    uint32_t dma_high;
} FwCfg;

static FwCfg *fw_cfg(Device *dev)
{
    g_assert(dev->type == &fw_cfg_type);
    return dev_as(FwCfg, dev);
}

static void fw_cfg_item_free(void *p)
{
    FwCfgItem *i = p;
    g_bytes_unref(i->data);
    g_free(i->name);
    g_free(i);
}

static FwCfgItem *fw_cfg_item(FwCfg *s, uint16_t key)
{
    return g_hash_table_lookup(s->items, GUINT_TO_POINTER(key));
}

void fw_cfg_add_gbytes(Device *fw, uint16_t key, GBytes *data)
{
    FwCfg *s = fw_cfg(fw);
    FwCfgItem *i = fw_cfg_item(s, key);
    if (!i) {
        i = g_new0(FwCfgItem, 1);
        i->key = key;
        g_hash_table_insert(s->items, GUINT_TO_POINTER(key), i);
    } else {
        g_bytes_unref(i->data);
        i->store = NULL;
    }
    i->data = g_bytes_ref(data);
    s->current = fw_cfg_item(s, s->selector);
}

void fw_cfg_set_file_backed(Device *fw, uint16_t key)
{
    fw_cfg_item(fw_cfg(fw), key)->file_backed = true;
}

/* A kernel of 14 MiB need not stay resident for the life of the guest. */
static void fw_cfg_drop_pages(const FwCfgItem *i)
{
    gsize len;
    uintptr_t start = (uintptr_t)g_bytes_get_data(i->data, &len), page = (uintptr_t)getpagesize();
    uintptr_t first = (start + page - 1) & -page, end = (start + len) & -page;
    if (end > first) {
        madvise((void *)first, end - first, MADV_DONTNEED);
    }
}

void fw_cfg_add_bytes(Device *fw, uint16_t key, const void *data, size_t len)
{
    g_autoptr(GBytes) b = g_bytes_new(data, len);
    fw_cfg_add_gbytes(fw, key, b);
}

void fw_cfg_add_u16(Device *fw, uint16_t key, uint16_t v)
{
    v = GUINT16_TO_LE(v);
    fw_cfg_add_bytes(fw, key, &v, sizeof(v));
}

void fw_cfg_add_u32(Device *fw, uint16_t key, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    fw_cfg_add_bytes(fw, key, &v, sizeof(v));
}

void fw_cfg_add_u64(Device *fw, uint16_t key, uint64_t v)
{
    v = GUINT64_TO_LE(v);
    fw_cfg_add_bytes(fw, key, &v, sizeof(v));
}

void fw_cfg_add_string(Device *fw, uint16_t key, const char *str)
{
    fw_cfg_add_bytes(fw, key, str, strlen(str) + 1);
}

/* Directory: count, then { size, select, reserved, name[56] }; numbers big-endian. */
static void fw_cfg_write_directory(FwCfg *s)
{
    g_autoptr(GByteArray) dir = g_byte_array_new();
    uint32_t count = GUINT32_TO_BE(s->files->len);
    g_byte_array_append(dir, (uint8_t *)&count, 4);
    for (guint n = 0; n < s->files->len; n++) {
        FwCfgItem *i = s->files->pdata[n];
        struct { uint32_t size; uint16_t select, reserved; char name[FW_CFG_NAME_MAX]; } e = { 0 };
        e.size = GUINT32_TO_BE(g_bytes_get_size(i->data));
        e.select = GUINT16_TO_BE(i->key);
        g_strlcpy(e.name, i->name, sizeof(e.name));
        g_byte_array_append(dir, (uint8_t *)&e, sizeof(e));
    }
    fw_cfg_add_bytes(&s->dev, FW_CFG_FILE_DIR, dir->data, dir->len);
}

static FwCfgItem *fw_cfg_find_file(FwCfg *s, const char *name)
{
    for (guint n = 0; n < s->files->len; n++) {
        FwCfgItem *i = s->files->pdata[n];
        if (!strcmp(i->name, name)) {
            return i;
        }
    }
    return NULL;
}

bool fw_cfg_has_file(Device *fw, const char *name)
{
    return fw_cfg_find_file(fw_cfg(fw), name) != NULL;
}

bool fw_cfg_add_file(Device *fw, const char *name, GBytes *data, Error **errp)
{
    FwCfg *s = fw_cfg(fw);
    if (strlen(name) >= FW_CFG_NAME_MAX) {
        return error_fail(errp, "too-large", "name", "shorten it",
                          "fw_cfg file name '%s' is longer than %d bytes", name, FW_CFG_NAME_MAX - 1);
    }
    if (g_bytes_get_size(data) > UINT32_MAX) {
        return error_set(errp, "fw_cfg file '%s' has 4 GiB or more", name);
    }
    FwCfgItem *i = fw_cfg_find_file(s, name);
    if (!i && s->files->len == FW_CFG_FILE_SLOTS) {
        return error_set(errp, "no place for fw_cfg file '%s': all %d are taken", name, FW_CFG_FILE_SLOTS);
    }
    uint16_t key = i ? i->key : FW_CFG_FILE_FIRST + s->files->len;
    fw_cfg_add_gbytes(fw, key, data);
    if (!i) {
        i = fw_cfg_item(s, key);
        i->name = g_strdup(name);
        g_ptr_array_add(s->files, i);
    }
    fw_cfg_write_directory(s);
    return true;
}

bool fw_cfg_add_file_bytes(Device *fw, const char *name, const void *data, size_t len, Error **errp)
{
    g_autoptr(GBytes) b = g_bytes_new(data, len);
    return fw_cfg_add_file(fw, name, b, errp);
}

void fw_cfg_set_hook(Device *fw, const char *name, FwCfgHook hook, void *opaque)
{
    FwCfgItem *i = fw_cfg_find_file(fw_cfg(fw), name);
    g_assert(i);
    i->hook = hook;
    i->hook_opaque = opaque;
}

bool fw_cfg_add_writable(Device *fw, const char *name, void *data, size_t size, FwCfgWritten written,
                         void *opaque, Error **errp)
{
    g_autoptr(GBytes) b = g_bytes_new_static(data, size);
    if (!fw_cfg_add_file(fw, name, b, errp)) {
        return false;
    }
    FwCfgItem *i = fw_cfg_find_file(fw_cfg(fw), name);
    i->store = data;
    i->written = written;
    i->written_opaque = opaque;
    return true;
}

void fw_cfg_withdraw_file(Device *fw, const char *name)
{
    FwCfgItem *i = fw_cfg_find_file(fw_cfg(fw), name);
    gsize size = g_bytes_get_size(i->data);
    i->store = NULL;
    i->written = NULL;
    g_bytes_unref(i->data);
    i->data = g_bytes_new_take(g_malloc0(size), size);
}

bool fw_cfg_add_user_files(Device *fw, Error **errp)
{
    GPtrArray *opts = fw->machine->fw_cfg_files;
    for (guint n = 0; opts && n < opts->len; n++) {
        const FwCfgFileOption *o = opts->pdata[n];
        if (fw_cfg_has_file(fw, o->name)) {
            return error_fail(errp, "already-exists", "name", "give another name",
                              "-fw_cfg name=%s: the machine has a file of that name already", o->name);
        }
        if (o->string) {
            if (!fw_cfg_add_file_bytes(fw, o->name, o->string, strlen(o->string), errp)) {
                return false;
            }
            continue;
        }
        g_autofree char *data = NULL;
        gsize len;
        g_autoptr(GError) gerr = NULL;
        if (!g_file_get_contents(o->file, &data, &len, &gerr)) {
            return error_set(errp, "-fw_cfg name=%s: %s", o->name, gerr->message);
        }
        if (!fw_cfg_add_file_bytes(fw, o->name, data, len, errp)) {
            return false;
        }
    }
    return true;
}

static void fw_cfg_select(FwCfg *s, uint16_t key)
{
    s->selector = key;
    s->offset = 0;
    s->current = fw_cfg_item(s, key);
    FwCfgItem *i = s->current;
    if (i && i->hook) {
        GBytes *now = i->hook(i->hook_opaque, i->data);
        if (now && g_bytes_get_size(now) == g_bytes_get_size(i->data)) {
            g_bytes_unref(i->data);
            i->data = now;
        } else if (now) {
            g_bytes_unref(now); /* the directory promised another length */
        }
    }
}

/* What is left of the selected item. */
static const uint8_t *fw_cfg_rest(const FwCfg *s, size_t *left)
{
    gsize len = 0;
    const uint8_t *p = s->current ? g_bytes_get_data(s->current->data, &len) : NULL;
    *left = s->offset < len ? len - s->offset : 0;
    return *left ? p + s->offset : NULL;
}

static void fw_cfg_advance(FwCfg *s, uint32_t n)
{
    s->offset = n > UINT32_MAX - s->offset ? UINT32_MAX : s->offset + n;
}

static uint8_t fw_cfg_next_byte(FwCfg *s)
{
    size_t left;
    const uint8_t *p = fw_cfg_rest(s, &left);
    fw_cfg_advance(s, 1);
    return p ? *p : 0; /* beyond the end: zeroes */
}

/* Copies n bytes of the item to the guest, zeroes after its end. Stops at the first address that is not
 * there, so the work is bounded by the guest's memory. */
static bool fw_cfg_dma_read(FwCfg *s, hwaddr addr, uint32_t n)
{
    static const uint8_t zeroes[4096];
    size_t left;
    const uint8_t *p = fw_cfg_rest(s, &left);
    if (n > UINT64_MAX - addr) {
        return false;
    }
    uint32_t head = MIN(n, left), done = 0;
    while (done < n) {
        bool data = done < head;
        uint32_t chunk = data ? MIN(head - done, 1u << 20) : MIN(n - done, (uint32_t)sizeof(zeroes));
        if (dma_write(&s->dma, addr + done, data ? p + done : zeroes, chunk) != MEM_OK) {
            return false;
        }
        done += chunk;
    }
    return true;
}

/* All of it, or nothing. */
static bool fw_cfg_dma_write(FwCfg *s, hwaddr addr, uint32_t n)
{
    const FwCfgItem *i = s->current;
    if (!i || !i->store) {
        return false; /* also of no bytes at all */
    }
    size_t size = g_bytes_get_size(i->data);
    if (s->offset > size || n > size - s->offset) {
        return false;
    }
    g_autofree uint8_t *bytes = g_malloc(n + 1);
    if (dma_read(&s->dma, addr, bytes, n) != MEM_OK) {
        return false;
    }
    memcpy(i->store + s->offset, bytes, n);
    i->written(i->written_opaque, s->offset, n);
    return true;
}

/* The command block: control (bits, selector in the upper half), length, address; all big-endian. */
static void fw_cfg_dma_run(FwCfg *s, hwaddr block)
{
    struct { uint32_t control, length; uint64_t addr; } cmd;
    if (dma_read(&s->dma, block, &cmd, sizeof(cmd)) != MEM_OK) {
        guest_error(&s->dev, "DMA command block at 0x%" G_GINT64_MODIFIER "x is not memory", (guint64)block);
        return;
    }
    uint32_t control = GUINT32_FROM_BE(cmd.control), length = GUINT32_FROM_BE(cmd.length);
    bool ok = true;
    if (control & DMA_SELECT) {
        fw_cfg_select(s, control >> 16);
    }
    if (control & DMA_READ) {
        ok = fw_cfg_dma_read(s, GUINT64_FROM_BE(cmd.addr), length);
        fw_cfg_advance(s, length);
        if (s->current && s->current->file_backed && s->offset >= g_bytes_get_size(s->current->data)) {
            fw_cfg_drop_pages(s->current);
        }
    } else if (control & DMA_WRITE) {
        ok = fw_cfg_dma_write(s, GUINT64_FROM_BE(cmd.addr), length);
        fw_cfg_advance(s, length);
    } else if (control & DMA_SKIP) {
        fw_cfg_advance(s, length);
    }
    if (!ok) {
        guest_error(&s->dev, "DMA %s of item 0x%x failed", control & DMA_READ ? "read" : "write",
                    s->selector);
    }
    uint32_t status = GUINT32_TO_BE(ok ? 0 : DMA_ERROR);
    dma_write(&s->dma, block, &status, sizeof(status));
}

static uint64_t fw_cfg_port_read(void *opaque, MemAccess *a)
{
    FwCfg *s = opaque;
    if (a->off == 1 && a->size == 1) {
        return fw_cfg_next_byte(s);
    }
    return 0; /* the selector is write-only */
}

static void fw_cfg_port_write(void *opaque, MemAccess *a, uint64_t val)
{
    FwCfg *s = opaque;
    if (a->off == 0 && a->size == 2) {
        fw_cfg_select(s, val);
    } else if (a->off == 1) {
        guest_error(&s->dev, "write to the data register: items are read-only");
    }
}

/* Reading the DMA register gives "QEMU CFG": the documented way to find the DMA interface. The access is
 * big-endian; off 0 is the high half. */
static uint64_t fw_cfg_dma_port_read(void *opaque G_GNUC_UNUSED, MemAccess *a)
{
    const uint64_t magic = UINT64_C(0x51454d5520434647);
    return magic >> (8 * (8 - a->off - a->size)) &
           (a->size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * a->size)) - 1);
}

static void fw_cfg_dma_port_write(void *opaque, MemAccess *a, uint64_t val)
{
    FwCfg *s = opaque;
    if (a->size == 8) {
        fw_cfg_dma_run(s, val);
        s->dma_high = 0;
    } else if (a->size == 4 && a->off == 0) {
        s->dma_high = val;
    } else if (a->size == 4 && a->off == 4) {
        hwaddr block = (uint64_t)s->dma_high << 32 | (uint32_t)val;
        s->dma_high = 0; /* the register reads as cleared after each transfer */
        fw_cfg_dma_run(s, block);
    }
}

static void fw_cfg_cleanup(void *opaque)
{
    FwCfg *s = opaque;
    g_clear_pointer(&s->files, g_ptr_array_unref);
    g_clear_pointer(&s->items, g_hash_table_unref);
}

static bool fw_cfg_realize(Device *dev, Error **errp)
{
    static const MemOps ports = {
        .read = fw_cfg_port_read, .write = fw_cfg_port_write, .min = 1, .max = 2, .unaligned = true,
    };
    static const MemOps dma = {
        .read = fw_cfg_dma_port_read, .write = fw_cfg_dma_port_write, .min = 1, .max = 8, .big_endian = true,
    };
    FwCfg *s = dev_as(FwCfg, dev);
    s->items = g_hash_table_new_full(NULL, NULL, NULL, fw_cfg_item_free);
    s->files = g_ptr_array_new();
    device_add_cleanup(dev, fw_cfg_cleanup, s);
    s->dma = (DmaContext){ .as = &dev->machine->as_mem };
    bus_new(&fw_cfg_bus_type, dev, "fw-cfg.0", s);
    region_init_io(&s->ports, dev, "fw_cfg", &ports, s, 2);
    region_init_io(&s->dma_port, dev, "fw_cfg-dma", &dma, s, 8);
    device_add_region(dev, &s->ports);
    device_add_region(dev, &s->dma_port);
    if (!device_map_io(dev, &s->ports, PORT_BASE, errp) ||
        !device_map_io(dev, &s->dma_port, PORT_DMA, errp)) {
        return false;
    }
    fw_cfg_add_bytes(dev, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_u32(dev, FW_CFG_ID, ID_TRADITIONAL | ID_DMA);
    fw_cfg_write_directory(s);
    return true;
}

const BusType fw_cfg_bus_type = { .name = "FW-CFG" };

Bus *fw_cfg_bus(Device *fw)
{
    return fw->buses->pdata[0];
}

bool fw_cfg_claim(Device *dev, Error **errp)
{
    GPtrArray *all = dev->bus->children;
    for (guint i = 0; i < all->len; i++) {
        const Device *d = all->pdata[i];
        if (d != dev && d->type == dev->type) {
            return error_fail(errp, "already-exists", "driver", "leave one of them out",
                              "there is already a %s: a machine has one at most", dev->type->name);
        }
    }
    return true;
}

Device *fw_cfg_of_machine(Machine *m)
{
    GPtrArray *all = m->unattached->children;
    for (guint i = 0; i < all->len; i++) {
        if (((Device *)all->pdata[i])->type == &fw_cfg_type) {
            return all->pdata[i];
        }
    }
    return NULL;
}

Device *fw_cfg_find_device(Machine *m, const DeviceType *type)
{
    GPtrArray *all = m->unattached->children;
    for (guint i = 0; i < all->len; i++) {
        Device *fw = all->pdata[i];
        GPtrArray *files = fw->type == &fw_cfg_type ? fw_cfg_bus(fw)->children : NULL;
        for (guint k = 0; files && k < files->len; k++) {
            Device *d = files->pdata[k];
            if (d->type == type) {
                return d;
            }
        }
    }
    return NULL;
}

static void fw_cfg_reset(Device *dev, ResetKind kind G_GNUC_UNUSED)
{
    FwCfg *s = dev_as(FwCfg, dev);
    s->selector = FW_CFG_SIGNATURE;
    s->offset = 0;
    s->dma_high = 0;
    s->current = fw_cfg_item(s, s->selector);
}

static bool fw_cfg_post_load(void *opaque, Error **errp G_GNUC_UNUSED)
{
    FwCfg *s = opaque;
    s->current = fw_cfg_item(s, s->selector);
    return true;
}

static const VmField fw_cfg_fields[] = {
    VM_U16(FwCfg, selector), VM_U32(FwCfg, offset), VM_U32(FwCfg, dma_high), { 0 },
};
static const VmState fw_cfg_state = {
    .name = "fw_cfg", .version = 1, .oldest = 1, .fields = fw_cfg_fields, .post_load = fw_cfg_post_load,
};

const DeviceType fw_cfg_type = {
    .name = "fw_cfg_io", .desc = "Firmware configuration device", .size = sizeof(FwCfg), .category = "Misc",
    .internal = true, .vmstate = &fw_cfg_state, .realize = fw_cfg_realize, .reset = fw_cfg_reset,
};
