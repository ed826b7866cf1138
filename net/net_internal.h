/* SPDX-License-Identifier: MIT
 * net/net_internal.h - what the network core and its back ends share.
 *
 * Threads: main loop; a queue's own leaf lock guards its indexes, since cards fill queues in their domains.
 */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "rhea/net/net.h"
#include "rhea/system/machine.h"
#include "rhea/util/sock.h"
#include <pthread.h>

enum { NET_QUEUE_BYTES = 1 << 20, NET_TURN_BYTES = 256 * 1024, NET_SCRATCH = NET_FRAME_MAX + 256 };

/* queue.c: frames one behind the other in a ring; one producer and one consumer at a time. */
typedef struct NetQueue {
    pthread_mutex_t lock;
    uint8_t *data;
    uint32_t size, head, tail, used; /* bytes; head: the oldest */
    bool waiting;                    /* the producer found no room */
} NetQueue;
void net_queue_init(NetQueue *q, uint32_t size);
void net_queue_fini(NetQueue *q);
uint8_t *net_queue_reserve(NetQueue *q, size_t len); /* NULL: no room; then `waiting` */
void net_queue_commit(NetQueue *q, const NetHdr *hdr, size_t len);
uint8_t *net_queue_peek(NetQueue *q, NetHdr *hdr, size_t *len); /* the oldest; NULL: empty */
bool net_queue_drop(NetQueue *q); /* the oldest; true: the producer waited, and now has room */
bool net_queue_empty(NetQueue *q);
bool net_queue_clear(NetQueue *q); /* likewise */

/* offload.c */
/* Does the description fit the frame? */
bool net_hdr_good(const NetHdr *hdr, const uint8_t *data, size_t len);
void net_complete_csum(const NetHdr *hdr, uint8_t *data, size_t len);
/* How many segments the frame becomes; 0: it is not what its header says. */
unsigned net_segments(const NetFrame *f);
/* Segment i, with right checksums; its length. out: as long as the frame, and a fragment's header more. */
size_t net_segment(const NetFrame *f, unsigned i, uint8_t *out);
uint16_t net_csum(const uint8_t *data, size_t len, uint32_t seed); /* RFC 1071, folded, not inverted */

/* A kind of client. Main loop, no domain. */
typedef struct NetKind {
    const char *name;
    size_t state_size;
    unsigned can;                                                     /* NET_CAN_* */
    bool (*open)(NetClient *c, const NetdevOptions *o, Error **errp); /* NULL: not made by options */
    void (*close)(NetClient *c);                                      /* may be NULL, like what follows */
    bool (*receive)(NetClient *c, const NetFrame *f); /* false: not now; net_client_resume() when it can */
    void (*resumed)(NetClient *c);                    /* net_client_send() had no room, and has some */
    void (*link_changed)(NetClient *c, bool up);      /* the own cable's and the peer's, together */
    void (*describe)(const NetClient *c, GString *out);
    void (*queues)(const NetClient *c, GArray *out); /* NetQueueInfo of each */
} NetKind;

typedef struct NetFilter NetFilter;
typedef enum NetWay { NET_TO_BACKEND, NET_FROM_BACKEND } NetWay;

struct NetClient {
    const NetKind *kind;
    Machine *machine;
    char *name;
    void *state;
    NetClient *peer;
    bool link_down;
    unsigned can; /* atomic for cards */
    unsigned n_queues; /* pairs of them; NetHdr.queue names one */
    NetQueue rx;  /* what waits for this client */
    Task flush;
    unsigned segment;  /* of the oldest frame, when it is cut: the next one */
    NetCounters count; /* `dropped` also by the producer: atomic */
    bool was_up;       /* what link_changed() was told last */
    GPtrArray *filters; /* NetFilter *, in their order; NULL: none. Back ends only */
    bool filtered;      /* the oldest frame that waits has passed them */
};

struct MachineNet {
    Machine *machine;
    GPtrArray *clients; /* NetClient *, in order of creation */
    uint8_t *scratch;
    unsigned macs; /* addresses given out */
    MachineListener listener;
    GPtrArray *announcements;
};

/* core.c */
MachineNet *machine_net(Machine *m); /* made at the first use */
NetClient *net_client_new(Machine *m, const NetKind *kind, const char *name);
void net_client_free(NetClient *c);
NetClient *net_client_find(Machine *m, const char *name);
void net_client_pair(NetClient *a, NetClient *b);
void net_client_unpair(NetClient *c);
/* To the peer. False: no room, the frame is dropped and counted; resumed() tells when there is some. */
bool net_client_send(NetClient *c, const NetFrame *f);
bool net_client_may_send(const NetClient *c); /* nothing waits for the peer */
void net_client_resume(NetClient *c);         /* any thread */
void net_client_count_drop(NetClient *to);    /* a frame for it was lost; any thread */
bool net_client_link(const NetClient *c);     /* both cables are in */
void net_links_changed(NetClient *c);         /* tells both ends if it changed */

/* For each of the finished frames that it becomes. */
void net_frame_finish(Machine *m, const NetFrame *f, void (*each)(void *opaque, const NetFrame *f),
                      void *opaque);
/* Behind the filters of a back end: to it, or from it to its peer. False: no room, the frame is still the
 * caller's. */
bool net_client_pass_on(NetClient *backend, NetWay way, const NetFrame *f);

/* filter.c */
void net_filter_register(void);
bool net_filters_keep(NetClient *c, NetWay way, const NetFrame *f); /* true: the frame goes no further */
void net_filters_free(NetClient *c);
void net_filters_print(const NetClient *c, GString *out);

/* nic.c */
extern const NetKind net_nic_kind;
Device *net_nic_device(const NetClient *c);
bool net_nic_has_rx_filter(const NetClient *c); /* otherwise the card does not tell */
void net_nic_rx_filter(NetClient *c, RxFilterInfo *out);
bool net_nic_announce(NetClient *c);
/* A producer of this client's queue waited, and there is room. */
void net_nic_writable(NetClient *nic);
void net_nic_started(NetClient *nic);

/* hub.c */
extern const NetKind net_hubport_kind;
int net_hub_id(const NetClient *c);
/* announce.c */
void net_announce_stop(MachineNet *n);

/* sockets.c: a = where, borrowed by the result */
SockSpec net_sock_spec(const NetSocketAddress *a);
/* A descriptor of the process by its number, or one that getfd gave a name, which it loses; -1: an error that
 * begins with `key`. */
int net_find_fd(Machine *m, const char *key, const char *text, Error **errp);
/* The same for a socket of that type (SOCK_STREAM, SOCK_DGRAM), non-blocking; the caller's from here on. */
int net_take_socket(Machine *m, const char *key, const char *text, int type, Error **errp);
/* SOCK_*; -1: not a socket. A name is not used up. */
int net_fd_type(Machine *m, const char *text);
/* What the network answered to an earlier frame makes a socket ready until somebody has asked. */
void net_forget_error(int fd);
Json *net_address_json(const struct sockaddr_storage *sa, socklen_t len); /* an InetSocketAddress of QMP */

/* child.c: waits for the program argv[0]; it inherits no descriptor but keep_fd (-1: none). False: it did not
 * start, or failed; its complaints are in the error. */
bool net_child_run(char *const argv[], int keep_fd, Error **errp);
bool net_may_start(const char *program, Error **errp); /* false: -sandbox would end this process for it */
const char *net_drop_option(void); /* NULL, or "-runas", "-chroot": it will be taken later */
bool net_programs_filtered(void); /* -sandbox: it would have no more system calls than this process */
/* Starts it with that input, nothing else, and a session of its own, which signals of a terminal do not
 * reach. The caller waits for its end. 0, or an errno. */
int net_child_spawn(char *const argv[], int in_fd, pid_t *pid);

/* tap.c */
extern const NetKind net_tap_kind, net_bridge_kind;
/* l2tpv3.c */
extern const NetKind net_l2tpv3_kind;
/* stream.c, dgram.c */
extern const NetKind net_stream_kind, net_dgram_kind;
/* passt.c, vde.c, switch.c */
extern const NetKind net_passt_kind, net_vde_kind, net_switch_kind;
/* socket.c: what the older names mean; *out is cleared by the caller, also after an error. */
bool net_socket_translate(Machine *m, const NetdevSocketOptions *s, NetdevOptions *out, Error **errp);

/* user.c */
extern const NetKind net_user_kind;
bool user_hostfwd_add(NetClient *c, const char *rule, Error **errp);
bool user_hostfwd_remove(NetClient *c, const char *rule, Error **errp);
void user_hostfwd_list(NetClient *c, GArray *out);
void user_print(NetClient *c, GString *out);

#endif
