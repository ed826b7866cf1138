/* SPDX-License-Identifier: MIT
 * block/temporary.c - a layer above a node that takes the writes and is gone afterwards.
 *
 * Models: snapshot=on of -drive, -s of rhea-io: a qcow2 file in $TMPDIR or /var/tmp, unlinked as soon as it
 *         is open. Threads: the main loop's.
 */
#include "internal.h"

#include <errno.h>
#include <unistd.h>

static char *temp_image(BlockGraph *g, const char *dir, int64_t size, Error **errp)
{
    char *path = g_build_filename(dir, "rhea-snapshot-XXXXXX", NULL);
    int fd = g_mkstemp(path);
    if (fd < 0) {
        error_set_errno(errp, errno, "snapshot=on: cannot make a file in '%s'", dir);
        error_hint(errp, "TMPDIR names another folder");
        g_free(path);
        return NULL;
    }
    close(fd);
    Qcow2Create create;
    g_autoptr(Json) o = json_put(json_new_object(), "size", json_new_int(size));
    bool ok = type_decode(&qcow2_create_type, o, false, &create, errp);
    if (ok) {
        ok = block_qcow2_driver.format->create(g, path, &create, errp);
        type_clear(&qcow2_create_type, &create);
    }
    if (!ok) {
        unlink(path);
        g_clear_pointer(&path, g_free);
    }
    return path;
}

BlockNode *block_open_temporary(BlockNode *base, const Json *more, Error **errp)
{
    role_assert_main();
    const char *dir = g_getenv("TMPDIR");
    g_autofree char *path = temp_image(base->graph, dir && *dir ? dir : "/var/tmp", block_size(base), errp);
    if (!path) {
        return NULL;
    }
    Json *file = json_put(json_new_object(), "driver", json_new_string("file"));
    json_put(file, "filename", json_new_string(path));
    g_autoptr(Json) o = json_put(json_new_object(), "driver", json_new_string("qcow2"));
    json_put(o, "file", file);
    json_put(o, "backing", json_new_string(block_name(base)));
    /* Nobody reads it after a crash of the host. */
    json_put(o, "cache", json_put(json_new_object(), "no-flush", json_new_bool(true)));
    if (more) {
        json_object_object_foreach((Json *)more, key, value)
        {
            json_put(o, key, json_ref(value));
        }
    }
    BlockNode *n = block_open(base->graph, o, false, errp);
    unlink(path);
    return n;
}
