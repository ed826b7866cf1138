/* SPDX-License-Identifier: MIT
 * hw/display/virtio-gpu.h - a virtio graphics card's inside: resources, outputs, commands.
 *
 * A resource is a picture that the driver made; its pixels are kept as pixman's a8r8g8b8, whatever the
 * driver's format is: they are converted as they come. An output (virtio: scanout) shows a rectangle of one,
 * without a copy. All that a driver can make the host keep counts against max_hostmem.
 * All calls: the device's domain.
 */
#ifndef HW_DISPLAY_VIRTIO_GPU_H
#define HW_DISPLAY_VIRTIO_GPU_H

#include "rhea/hw/virtio-types.h"
#include "rhea/ui/console.h"

#include <linux/virtio_gpu.h>

enum {
    GPU_CLASS = 16,
    GPU_OUTPUTS = VIRTIO_GPU_MAX_SCANOUTS,
    GPU_CONTROL_ENTRIES = 64, /* of the queues */
    GPU_CURSOR_ENTRIES = 16,
    GPU_PIECES = 16384,       /* most parts of a resource's memory in the guest */
    GPU_CURSOR_SIDE = 64,     /* 5.7.6.8: cursors have this size */
    GPU_RESOURCE_COST = 1024, /* bytes of the host's that a resource takes beside its pixels */
};
#define GPU_MAX_HOSTMEM (UINT64_C(3) << 30) /* saved states count their bytes in 32 bits */
enum { CONTROLQ, CURSORQ, GPU_QUEUES };

typedef struct GpuRect {
    uint32_t x, y, w, h;
} GpuRect;

typedef struct GpuPiece { /* of the guest's memory, where a resource has its pixels */
    uint64_t at, off;     /* guest address; bytes of all pieces before it */
    uint32_t len;
} GpuPiece;

typedef struct GpuResource {
    uint32_t id, format; /* VIRTIO_GPU_FORMAT_* */
    Surface *pixels;
    bool backed;
    GpuPiece *piece;
    uint32_t n_pieces;
    uint64_t backing; /* bytes of all pieces */
} GpuResource;

typedef struct GpuOutput {
    Console *console;
    /* What the driver is told: which picture would suit. No saved state: it is the viewer's, who is another
     * one after a load. */
    ConsoleWish wish;
    /* What it shows. */
    uint32_t resource; /* 0: nothing */
    GpuRect r;         /* of that one */
    Surface *cursor;   /* a8r8g8b8 of GPU_CURSOR_SIDE; NULL: hidden */
    bool has_cursor;   /* in a saved state */
    uint32_t hot_x, hot_y;
    uint32_t cursor_x, cursor_y; /* two's complement */
} GpuOutput;

typedef struct VirtioGpu {
    VirtioDevice v;
    uint32_t max_outputs, xres, yres; /* properties */
    bool edid;
    uint64_t max_hostmem;
    int legacy;
    bool no_modern;
    /* virtio-vga's: whose picture output 0 shows; or NULL */
    void (*leave_vga)(struct VirtioGpu *s, bool leave);
    Console *first; /* its console, output 0's; or NULL */

    GHashTable *resources; /* by id: GpuResource * */
    uint64_t hostmem;      /* bytes that count against max_hostmem */
    GpuOutput out[GPU_OUTPUTS];
    bool drawing;    /* an output has shown something since the reset */
    uint32_t events; /* 5.7.4: events_read */
    DomainTask more;
    uint32_t *line;       /* pixels of a line in the driver's format */
    uint32_t saved_bytes; /* what a saved state has of pixels: virtio-gpu-state.c */
    Fifo8 saved;
} VirtioGpu;
#define gpu_of(V) ((VirtioGpu *)(V))

/* virtio-gpu-res.c. Answers: VIRTIO_GPU_RESP_OK_NODATA or VIRTIO_GPU_RESP_ERR_*. */
static inline GpuResource *gpu_resource(const VirtioGpu *s, uint32_t id)
{
    return g_hash_table_lookup(s->resources, GUINT_TO_POINTER(id));
}
void gpu_resource_free(void *resource); /* the hash table's */
uint32_t gpu_resource_create(VirtioGpu *s, uint32_t id, uint32_t format, uint32_t width, uint32_t height);
void gpu_resource_drop(VirtioGpu *s, GpuResource *r);
/* n pieces, whose places and lengths are at `off` of `from` as struct virtio_gpu_mem_entry. */
uint32_t gpu_resource_attach(VirtioGpu *s, GpuResource *r, const IoVec *from, size_t off, uint32_t n);
void gpu_resource_detach(VirtioGpu *s, GpuResource *r);
/* The rectangle's lines, which are in the guest's memory from `off` on, as far apart as the resource is wide.
 */
uint32_t gpu_resource_transfer(VirtioGpu *s, GpuResource *r, const GpuRect *rect, uint64_t off);
bool gpu_rect_inside(const GpuRect *r, const Surface *s);
/* Pixels of a resource as a cursor: a8r8g8b8, the caller's. NULL: it has another size. */
Surface *gpu_resource_cursor(const GpuResource *r);

/* virtio-gpu-cmd.c: one buffer of the queue. How many bytes it moved, about: so much time it took. */
uint64_t gpu_control(VirtioGpu *s, VirtElem *e, uint32_t *written);
void gpu_cursor(VirtioGpu *s, const VirtElem *e);

/* virtio-gpu.c */
void gpu_show(VirtioGpu *s, unsigned output); /* what out[output] says */
void gpu_show_cursor(VirtioGpu *s, unsigned output);
void gpu_forget(VirtioGpu *s);           /* resources, and what is shown */
extern const ConsoleOps gpu_console_ops; /* opaque: GpuOutput * */
void gpu_wish(VirtioGpu *s, unsigned output, const ConsoleWish *wish);
bool gpu_realize(Device *dev, const VirtioClass *class, Error **errp);
void gpu_get_config(VirtioDevice *v, uint8_t *config); /* these five: VirtioClass's */
void gpu_config_written(VirtioDevice *v, unsigned off, unsigned len, uint32_t val);
void gpu_kick(VirtioDevice *v, VirtQueue *q);
void gpu_driver_reset(VirtioDevice *v);
#define GPU_CLASS_OF(PCI, PLACES)                                                                            \
    {                                                                                                        \
        .id = GPU_CLASS, .pci = (PCI), .places = (PLACES), .kick = gpu_kick, .get_config = gpu_get_config,   \
        .config_written = gpu_config_written, .reset = gpu_driver_reset,                                     \
        .config_size = sizeof(struct virtio_gpu_config), .elem_size = sizeof(VirtElem)                       \
    }

/* virtio-gpu-state.c */
void gpu_pre_save(void *opaque); /* VmState's */
bool gpu_post_load(void *opaque, Error **errp);
void gpu_saved_drop(VirtioGpu *s);
extern const VmState gpu_output_state, gpu_saved_state;
#define GPU_FIELDS                                                                                           \
    VM_STRUCT_ARRAY(VirtioGpu, out, gpu_output_state), VM_BOOL(VirtioGpu, drawing),                          \
        VM_U32_MAX(VirtioGpu, events, VIRTIO_GPU_EVENT_DISPLAY),                                             \
        { .name = "saved_bytes", .kind = VM_STRUCT_, .offset = 0, .sub = &gpu_saved_state },                 \
        VM_FIFO8(VirtioGpu, saved)

#define GPU_PROPS                                                                                            \
    PROP_U32(VirtioGpu, max_outputs, "max_outputs", 1, 1, GPU_OUTPUTS, "Heads"),                             \
        PROP_U32(VirtioGpu, xres, "xres", 1280, 1, SURFACE_MAX_SIDE, "Width that the guest is told first"),  \
        PROP_U32(VirtioGpu, yres, "yres", 800, 1, SURFACE_MAX_SIDE, "Height that the guest is told first"),  \
        PROP_BOOL(VirtioGpu, edid, "edid", true, "Monitors describe themselves to the guest"),               \
        PROP_SIZE(VirtioGpu, max_hostmem, "max_hostmem", 256 << 20, 0, GPU_MAX_HOSTMEM,                      \
                  "Host memory that the guest may use for pictures"),                                        \
        PROP_ONLY_BOOL("blob", false, "pictures are copied; none is shared with the guest's memory",         \
                       "leave it out"),                                                                      \
        PROP_ONLY_BOOL("virgl", false, "there is no 3D: it needs OpenGL and virglrenderer", "leave it out")
/* Of the PCI types. */
#define GPU_PCI_PROPS                                                                                        \
    PROP_ONOFFAUTO(VirtioGpu, legacy, "disable-legacy", AUTO, "There is no legacy interface: not off"),      \
        PROP_BOOL(VirtioGpu, no_modern, "disable-modern", false, "There is only the modern one: not on"),    \
        PROP_BOOL(VirtioGpu, v.ioeventfd, "ioeventfd", false,                                                \
                  "Where KVM has local APICs in the kernel, it hears notifications without leaving the "     \
                  "guest")

#endif
