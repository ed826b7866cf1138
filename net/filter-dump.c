/* SPDX-License-Identifier: MIT
 * net/filter-dump.c - -object filter-dump: frames in a file that Wireshark and tcpdump read.
 *
 * Models: the pcap format (draft-ietf-opsawg-pcap): a header of 24 bytes, 16 before each frame, in the host's
 *         order; link type 1, Ethernet. A frame is written as it passes: an unfinished one (checksum,
 *         segments) unfinished, as captures on the host have them.
 * Threads: main loop. What one turn of it brings is written together, at its end.
 */
#include "filter_internal.h"
#include "rhea/util/fdset.h"
#include "rhea/util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC = 0xa1b2c3d4u, MAJOR = 2, MINOR = 4, ETHERNET = 1, PENDING = 256 * 1024, SNAPLEN = 65536 };

typedef struct PcapFile {
    uint32_t magic;
    uint16_t major, minor;
    int32_t zone;
    uint32_t accuracy, snaplen, link;
} PcapFile;
typedef struct PcapFrame {
    uint32_t s, us, kept, len;
} PcapFrame;

typedef struct Dump {
    int fd; /* -1: none, or it failed */
    char *file;
    uint32_t maxlen;
    GByteArray *pending;
    Task flush;
} Dump;

static void dump_fail(NetFilter *f, int err)
{
    Dump *d = f->state;
    log_warn("filter '%s': writing '%s' failed: %s; it is off from here on", f->id, d->file, g_strerror(err));
    f->on = false;
}

static void dump_flush(void *opaque)
{
    NetFilter *f = opaque;
    Dump *d = f->state;
    size_t done = 0;
    while (done < d->pending->len) {
        ssize_t n = write(d->fd, d->pending->data + done, d->pending->len - done);
        if (n < 0 && errno != EINTR) {
            dump_fail(f, errno);
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    g_byte_array_set_size(d->pending, 0);
}

static bool dump_frame(NetFilter *f, NetWay way, const NetFrame *frame)
{
    Dump *d = f->state;
    gint64 now = g_get_real_time();
    PcapFrame h = { .s = (uint32_t)(now / G_USEC_PER_SEC),
                    .us = (uint32_t)(now % G_USEC_PER_SEC),
                    .kept = (uint32_t)MIN(frame->len, d->maxlen),
                    .len = (uint32_t)frame->len };
    g_byte_array_append(d->pending, (const guint8 *)&h, sizeof(h));
    g_byte_array_append(d->pending, frame->data, h.kept);
    if (d->pending->len > PENDING) {
        dump_flush(f);
    } else {
        loop_post(f->client->machine->loop, &d->flush);
    }
    return false;
}

static void dump_turned_off(NetFilter *f)
{
    dump_flush(f); /* who turned it off may read the file at once */
}

static bool dump_open(NetFilter *f, const NetFilterOptions *o, Error **errp)
{
    Dump *d = f->state;
    const FilterDumpProperties *p = &o->u.filter_dump;
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    d->file = g_strdup(p->file);
    d->maxlen = p->has_maxlen ? (uint32_t)p->maxlen : SNAPLEN;
    d->pending = g_byte_array_new();
    d->flush = (Task){ .run = dump_flush, .opaque = f };
    d->fd = fdset_open(p->file, flags, 0644);
    if (d->fd < 0) {
        int err = errno;
        error_set_errno(errp, err, "cannot write '%s'", p->file);
        fdset_hint(p->file, flags, err, errp);
        return false;
    }
    PcapFile h = { .magic = MAGIC, .major = MAJOR, .minor = MINOR, .snaplen = d->maxlen, .link = ETHERNET };
    return write(d->fd, &h, sizeof(h)) == sizeof(h) ||
           error_set_errno(errp, errno, "cannot write '%s'", p->file);
}

static void dump_close(NetFilter *f)
{
    Dump *d = f->state;
    if (d->fd >= 0 && d->pending) {
        dump_flush(f);
        fdset_close(d->fd);
    }
    if (d->pending) {
        loop_unpost(f->client->machine->loop, &d->flush);
        g_byte_array_unref(d->pending);
    }
    g_free(d->file);
}

static Json *dump_get(const NetFilter *f, const char *name)
{
    const Dump *d = f->state;
    return g_str_equal(name, "file")     ? json_new_string(d->file)
           : g_str_equal(name, "maxlen") ? json_new_uint(d->maxlen)
                                         : NULL;
}

const NetFilterType filter_dump_type = {
    .state_size = sizeof(Dump),
    .open = dump_open,
    .close = dump_close,
    .frame = dump_frame,
    .turned_off = dump_turned_off,
    .get = dump_get,
};
