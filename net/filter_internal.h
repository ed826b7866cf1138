/* SPDX-License-Identifier: MIT
 * net/filter_internal.h - filters, as their files share them. Main loop.
 */
#ifndef NET_FILTER_INTERNAL_H
#define NET_FILTER_INTERNAL_H

#include "net_internal.h"

typedef struct NetFilterType {
    size_t state_size;
    bool (*open)(NetFilter *f, const NetFilterOptions *o, Error **errp);
    void (*close)(NetFilter *f); /* also after an open() that failed */
    /* True: it keeps the frame, or drops it; otherwise the frame goes on. */
    bool (*frame)(NetFilter *f, NetWay way, const NetFrame *frame);
    void (*turned_off)(NetFilter *f);                    /* may be NULL, like what follows */
    Json *(*get)(const NetFilter *f, const char *name);  /* a property of its own */
    bool (*set)(NetFilter *f, const char *name, const Json *value, Error **errp);
} NetFilterType;

struct NetFilter {
    const NetFilterType *type;
    NetFilterKind kind;
    NetClient *client; /* the back end */
    char *id, *position;
    NetFilterDirection queue;
    NetfilterInsert insert;
    bool on;
    uint64_t seen, lost; /* frames; lost: it could not do with them what it is for */
    void *state;
};

extern const NetFilterType filter_buffer_type, filter_dump_type, filter_mirror_type, filter_redirector_type,
    filter_flows_type;

/* The frame goes on behind this filter. False: there is no room for it now. */
bool net_filter_pass(NetFilter *f, NetWay way, const NetFrame *frame);

#endif
