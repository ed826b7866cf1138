/* SPDX-License-Identifier: MIT
 * monitor/qmp.c - QMP sessions: from bytes to commands, from results and events to bytes.
 *
 * Models: QEMU's protocol as its clients know it: greeting, negotiation, "id", "execute" and "exec-oob",
 *         events with time stamps, error classes. An error has "data" as well: a code that stays the same,
 *         the member at fault, the cure.
 * Limits: qmp_frame.h for one message; QMP_QUEUE_MAX commands wait, then no input is taken; nor while the
 *         client leaves QMP_OUT_PAUSE bytes unread. Events for a client that does not read are dropped
 *         beyond QMP_OUT_EVENTS; those that a guest can cause at will come once a second (qmp_rate.h).
 * Threads: main loop, no domain held. Commands may turn the loop: then others, and further input, come in
 *         between, but never a second in-band command of the same session.
 */
#include "config.h"
#include "monitor/trace.h"
#include "monitor_internal.h"
#include "qmp_internal.h"
#include "rhea/util/errorcode.h"
#include "rhea/util/fdset.h"
#include "rhea/util/log.h"
#include "rhea/util/text.h"
#include <string.h>
#include <sys/time.h>

static const QmpTables *tables;

void qmp_set_tables(const QmpTables *t)
{
    tables = t;
}

const QmpTables *qmp_tables(void)
{
    static const QmpCommand *const commands[] = { qmp_commands, NULL };
    static const QmpEvent *const events[] = { qmp_events, NULL };
    static const QmpTables core = { commands, events };
    return tables ? tables : &core;
}

const QmpCommand *qmp_find(const char *name)
{
    for (const QmpCommand *const *t = qmp_tables()->commands; *t; t++) {
        for (const QmpCommand *c = *t; c->name; c++) {
            if (g_str_equal(c->name, name)) {
                return c;
            }
        }
    }
    return NULL;
}

/* ---- errors ---- */

static void put_text(Json *object, const char *key, const char *text)
{
    if (text) {
        json_put(object, key, json_new_string(text));
    }
}

Json *qmp_error_json(const Error *err)
{
    static const char *const classes[] = {
        [ERROR_GENERIC] = "GenericError",
        [ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
        [ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [ERROR_KVM_MISSING_CAP] = "KVMMissingCap",
    };
    const char *hint = error_hint_text(err);
    g_autofree char *desc = hint ? g_strdup_printf("%s (%s)", error_text(err), hint) : NULL;
    Json *data = json_new_object();
    put_text(data, "code", error_code(err));
    put_text(data, "member", error_member(err));
    put_text(data, "hint", hint);
    Json *e = json_new_object();
    put_text(e, "class", classes[error_class(err)]);
    put_text(e, "desc", desc ? g_strdelimit(desc, "\n", ' ') : error_text(err));
    return json_put(e, "data", data);
}

/* ---- output ---- */

static void session_writable(void *opaque);

static void flush_out(QmpSession *s)
{
    size_t left = s->out->len - s->out_done;
    s->out_done += char_write(&s->port, (const uint8_t *)s->out->str + s->out_done, left);
    if (s->out_done < s->out->len) {
        char_notify_writable(&s->port, session_writable);
    } else {
        g_string_truncate(s->out, 0);
        s->out_done = 0;
    }
    if (s->out_done > 1 << 20) { /* not for each piece: that would move all of the rest each time */
        g_string_erase(s->out, 0, s->out_done);
        s->out_done = 0;
    }
}

static size_t unread(const QmpSession *s)
{
    return s->out->len - s->out_done;
}

static void run_later(QmpSession *s)
{
    if (s->waiting.length && !s->running && unread(s) < QMP_OUT_PAUSE) {
        loop_post(s->machine->loop, &s->next);
    }
}

static void session_writable(void *opaque)
{
    QmpSession *s = opaque;
    flush_out(s);
    if (!unread(s) && s->events_lost) {
        log_warn("QMP client of chardev '%s' did not read: %u events were dropped", chardev_id(s->port.be),
                 s->events_lost);
        s->events_lost = 0;
    }
    run_later(s);
    char_accept_input(&s->port);
}

void qmp_session_send(QmpSession *s, Json *message)
{
    if (s->open) {
        g_autofree char *text = json_format(message, s->pretty);
        trace_qmp_message(s, text);
        g_string_append(s->out, text);
        g_string_append(s->out, "\r\n");
        flush_out(s);
    }
    json_unref(message);
}

Json *qmp_version_json(void)
{
    Json *qemu = json_new_object(); /* whose 7.2 names, types and features are the reference */
    json_put(qemu, "micro", json_new_int(0));
    json_put(qemu, "minor", json_new_int(2));
    json_put(qemu, "major", json_new_int(7));
    Json *v = json_put(json_new_object(), "qemu", qemu);
    return json_put(v, "package", json_new_string("Rhea " RHEA_VERSION));
}

static void greet(QmpSession *s)
{
    Json *about = json_put(json_new_object(), "version", qmp_version_json());
    json_put(about, "capabilities", json_append(json_new_array(), json_new_string("oob")));
    qmp_session_send(s, json_put(json_new_object(), "QMP", about));
}

/* key: "return" or "error"; takes value. The id of the request, whatever it is, goes along. */
static void reply(QmpSession *s, const Json *request, const char *key, Json *value)
{
    bool has_id = false;
    Json *id = json_kind(request) == JSON_OBJECT ? json_member(request, "id", &has_id) : NULL;
    Json *r = json_put(json_new_object(), key, value);
    if (has_id) {
        json_put(r, "id", json_ref(id));
    }
    qmp_session_send(s, r);
}

static void reply_error(QmpSession *s, const Json *request, Error *err)
{
    reply(s, request, "error", qmp_error_json(err));
    error_free(err);
}

static void send_event(void *opaque, Json *event)
{
    QmpSession *s = opaque;
    if (unread(s) > QMP_OUT_EVENTS) {
        s->events_lost++;
        json_unref(event);
    } else {
        qmp_session_send(s, event);
    }
}

static void on_event(void *opaque, const char *name, const Json *data)
{
    QmpSession *s = opaque;
    struct timeval now;
    if (!s->negotiated) {
        return;
    }
    gettimeofday(&now, NULL);
    Json *stamp = json_put(json_new_object(), "seconds", json_new_int(now.tv_sec));
    json_put(stamp, "microseconds", json_new_int(now.tv_usec));
    Json *e = json_put(json_new_object(), "timestamp", stamp);
    put_text(e, "event", name);
    if (data) {
        json_put(e, "data", json_ref((Json *)data));
    }
    qmp_rate_event(&s->rate, name, e);
}

/* ---- running ---- */

static bool has_member(const TypeDesc *t, const char *name, size_t len)
{
    for (unsigned i = 0; t && i < t->n; i++) {
        if (strlen(t->fields[i].name) == len && !strncmp(t->fields[i].name, name, len)) {
            return true;
        }
    }
    return false;
}

/* Is the path one of a member that the command may have? */
static bool takes_member(const QmpCommand *c, const char *path)
{
    size_t len = strcspn(path, ".");
    if (!c->args || c->flags & QMP_RAW || has_member(c->args, path, len)) {
        return true;
    }
    const TypeDesc *tag = NULL;
    for (unsigned i = 0; c->args->kind == TYPE_UNION && i < c->args->n; i++) {
        tag = g_str_equal(c->args->fields[i].name, c->args->tag) ? c->args->fields[i].type : tag;
    }
    for (unsigned i = 0; tag && tag->names[i]; i++) {
        if (has_member(c->args->branch[i], path, len)) {
            return true;
        }
    }
    return false;
}

/* A function below knows the command line's name of a member, or the value alone. */
static void settle_member(const QmpCommand *c, const Json *arguments, Error **errp)
{
    const char *member = errp && *errp ? error_member(*errp) : NULL;
    if (member && !takes_member(c, member)) {
        error_place_member(errp, arguments);
    }
    error_find_member(errp, arguments);
    error_add_cure(errp);
}

static Json *run_typed(QmpCall *call, const QmpCommand *c, const Json *arguments, Error **errp)
{
    g_autofree void *args = c->args && !(c->flags & QMP_RAW) ? g_malloc0(MAX(c->args->size, 1)) : NULL;
    g_autofree void *ret = g_malloc0(c->ret ? MAX(c->ret->size, sizeof(Json *)) : 1);
    Json *result = NULL;
    if (args && !type_decode(c->args, arguments, false, args, errp)) {
        return NULL;
    }
    if (c->run(call, args ? args : arguments, ret, errp)) {
        result = !c->ret                       ? json_new_object()
                 : c->flags & QMP_RAW_RESULT ? json_ref(*(Json **)ret)
                                               : type_encode(c->ret, ret);
    } else {
        settle_member(c, arguments, errp);
    }
    if (args) {
        type_clear(c->args, args);
    }
    if (c->flags & QMP_RAW_RESULT) {
        json_unref(*(Json **)ret);
    } else if (c->ret) {
        type_clear(c->ret, ret);
    }
    return result;
}

Json *qmp_run(Machine *m, QmpSession *s, const QmpCommand *c, const Json *arguments, Error **errp)
{
    role_assert_main();
    QmpCall call = { .machine = m, .session = s };
    g_autoptr(Json) none = arguments ? NULL : json_new_object();
    arguments = arguments ? arguments : none;
    if (!c->args && json_length(arguments)) {
        json_object_object_foreach((Json *)arguments, key, value)
        {
            (void)value;
            error_fail(errp, "unknown-member", key, "leave 'arguments' out",
                       "'%s' is unknown: command '%s' takes no arguments", key, c->name);
            break;
        }
        return NULL;
    }
    return run_typed(&call, c, arguments, errp);
}

static void refuse_unknown(const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const QmpCommand *const *t = qmp_tables()->commands; *t; t++) {
        for (const QmpCommand *c = *t; c->name; c++) {
            g_ptr_array_add(names, (gpointer)c->name);
        }
    }
    g_ptr_array_add(names, NULL);
    error_set(errp, "there is no command '%s'", name);
    error_hint_nearest(errp, name, (const char *const *)names->pdata);
    error_hint_else(errp, "query-commands lists them");
    error_set_class(errp, ERROR_COMMAND_NOT_FOUND);
    error_set_code(errp, "command-not-found", "execute");
}

static bool member_error(Error **errp, const char *member, const char *code, const char *what)
{
    return error_fail(errp, code, member, NULL, "'%s' %s", member, what);
}

/* Checks a message's members, not the command. *name: what to execute. */
static bool check_message(const QmpSession *s, const Json *j, const char **name, bool *oob, Error **errp)
{
    bool has_execute, has_oob, has_arguments;
    if (json_kind(j) != JSON_OBJECT) {
        error_fail(errp, "wrong-type", NULL, NULL,
                   "a command is an object, not %s", json_kind_name(json_kind(j)));
        error_hint(errp, "for example {\"execute\": \"query-status\"}");
        return false;
    }
    Json *execute = json_member(j, "execute", &has_execute), *exec_oob = json_member(j, "exec-oob", &has_oob);
    Json *arguments = json_member(j, "arguments", &has_arguments);
    json_object_object_foreach((Json *)j, key, value)
    {
        (void)value;
        if (!g_str_equal(key, "execute") && !(s->oob && g_str_equal(key, "exec-oob")) &&
            !g_str_equal(key, "arguments") && !g_str_equal(key, "id")) {
            member_error(errp, key, "unknown-member", "is unknown in a command");
            if (g_str_equal(key, "exec-oob")) {
                error_hint(errp, "it needs the capability 'oob', which qmp_capabilities enables");
            }
            return false;
        }
    }
    if (has_execute && has_oob) {
        return member_error(errp, "exec-oob", "unknown-member", "and 'execute' exclude each other");
    }
    if (!has_execute && !has_oob) {
        return member_error(errp, "execute", "missing-member", "is missing: which command?");
    }
    *oob = has_oob;
    *name = json_get_string(has_oob ? exec_oob : execute);
    if (!*name) {
        return member_error(errp, has_oob ? "exec-oob" : "execute", "wrong-type", "must be a string");
    }
    return !has_arguments || json_kind(arguments) == JSON_OBJECT ||
           member_error(errp, "arguments", "wrong-type", "must be an object");
}

static Json *execute(QmpSession *s, const Json *j, const char *name, bool oob, Error **errp)
{
    const QmpCommand *c = qmp_find(name);
    bool negotiates = g_str_equal(name, "qmp_capabilities");
    if (!s->negotiated && !negotiates) {
        error_fail(errp, "not-now", "execute", NULL, "'%s' must wait: capabilities come first", name);
        error_hint(errp, "send {\"execute\": \"qmp_capabilities\"}");
        error_set_class(errp, ERROR_COMMAND_NOT_FOUND);
        return NULL;
    }
    if (!c) {
        refuse_unknown(name, errp);
        return NULL;
    }
    if (oob && !(c->flags & QMP_ALLOW_OOB)) {
        error_fail(errp, "not-supported", "exec-oob", NULL, "command '%s' cannot run out of band", name);
        error_hint(errp, "use 'execute' instead of 'exec-oob'");
        return NULL;
    }
    return qmp_run(s->machine, s, c, json_member(j, "arguments", NULL), errp);
}

static void run_message(QmpSession *s, const Json *j)
{
    const char *name;
    bool oob = false;
    Error *err = NULL;
    unsigned client = s->client;
    Json *result = check_message(s, j, &name, &oob, &err) ? execute(s, j, name, oob, &err) : NULL;
    if (client != s->client || !s->open) { /* who asked is gone */
        json_unref(result);
        error_free(err);
    } else if (err) {
        reply_error(s, j, err);
    } else {
        reply(s, j, "return", result);
    }
}

static void run_next(void *opaque)
{
    QmpSession *s = opaque;
    if (s->running || unread(s) >= QMP_OUT_PAUSE) {
        return;
    }
    g_autoptr(Json) j = g_queue_pop_head(&s->waiting);
    if (!j) {
        return;
    }
    s->running = true;
    run_message(s, j);
    s->running = false;
    run_later(s);
    char_accept_input(&s->port);
}

/* ---- input ---- */

static void take_message(QmpSession *s)
{
    Error *err = NULL;
    trace_qmp_request(s, s->framer.text->str);
    Json *j = json_parse(s->framer.text->str, s->framer.text->len, &err);
    if (!j) {
        error_set_code(&err, "invalid-json", NULL);
        reply_error(s, NULL, err);
        return;
    }
    if (s->oob && json_kind(j) == JSON_OBJECT && json_member(j, "exec-oob", NULL)) {
        run_message(s, j); /* overtakes those that wait */
        json_unref(j);
        return;
    }
    g_queue_push_tail(&s->waiting, j);
    run_later(s);
}

static size_t session_room(void *opaque)
{
    QmpSession *s = opaque;
    return s->waiting.length < QMP_QUEUE_MAX && unread(s) < QMP_OUT_PAUSE ? 256 : 0;
}

static void session_receive(void *opaque, const uint8_t *buf, size_t len)
{
    QmpSession *s = opaque;
    const uint8_t *end = buf + len;
    unsigned client = s->client;
    while (buf < end && client == s->client) {
        Error *err = NULL;
        QmpFrameResult r = qmp_framer_feed(&s->framer, &buf, end, &err);
        if (r == QMP_MESSAGE) {
            take_message(s);
        } else if (r == QMP_ERROR) {
            error_set_code(&err, "invalid-json", NULL);
            reply_error(s, NULL, err);
        }
    }
}

static void forget_client(QmpSession *s)
{
    Json *j;
    while ((j = g_queue_pop_head(&s->waiting))) {
        json_unref(j);
    }
    qmp_framer_reset(&s->framer);
    qmp_rate_clear(&s->rate);
    g_string_truncate(s->out, 0);
    s->out_done = 0;
    if (s->open) {
        fdset_client_gone(machine_running(s->machine));
    }
    s->open = s->negotiated = s->oob = false;
    s->events_lost = 0;
    s->client++;
}

static void session_event(void *opaque, CharEvent event)
{
    QmpSession *s = opaque;
    if (event == CHAR_OPENED || event == CHAR_CLOSED) {
        forget_client(s);
    }
    if (event == CHAR_OPENED) {
        s->open = true;
        fdset_client_came();
        greet(s);
    }
}

void qmp_accept_capabilities(QmpSession *s, bool oob)
{
    s->negotiated = true;
    s->oob = oob;
}

int qmp_session_take_fd(QmpSession *s)
{
    return char_take_fd(&s->port);
}

/* ---- life ---- */

QmpSession *qmp_session_new(Machine *m, Chardev *c, bool pretty, Error **errp)
{
    static const CharHandler handler = { .room = session_room, .receive = session_receive,
                                         .event = session_event, .answers = true };
    role_assert_main();
    if (chardev_is_mux(c)) {
        error_fail(errp, "conflict", "chardev", NULL,
                   "chardev '%s' is shared (mux=on), which QMP cannot be", chardev_id(c));
        error_hint(errp, "use a chardev without mux=on");
        return NULL;
    }
    QmpSession *s = g_new0(QmpSession, 1);
    if (!chardev_connect(c, &s->port, errp)) {
        g_free(s);
        return NULL;
    }
    char_port_set_holder(&s->port, "a QMP monitor");
    char_port_take_fds(&s->port);
    s->machine = m;
    s->pretty = pretty;
    s->out = g_string_new(NULL);
    s->next = (Task){ .run = run_next, .opaque = s };
    g_queue_init(&s->waiting);
    qmp_framer_init(&s->framer);
    qmp_rate_init(&s->rate, m->loop, send_event, s);
    s->listener = (MachineListener){ .event = on_event, .opaque = s };
    machine_add_listener(m, &s->listener);
    char_attach(&s->port, &handler, s, NULL);
    return s;
}

void qmp_session_free(QmpSession *s)
{
    machine_remove_listener(s->machine, &s->listener);
    forget_client(s);
    loop_unpost(s->machine->loop, &s->next);
    char_detach(&s->port);
    qmp_framer_fini(&s->framer);
    qmp_rate_fini(&s->rate);
    g_string_free(s->out, TRUE);
    g_free(s);
}
