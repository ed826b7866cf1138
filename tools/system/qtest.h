/* SPDX-License-Identifier: MIT
 * tools/system/qtest.h - `-qtest DEV`: the test accelerator's line protocol over a character device.
 */
#ifndef TOOLS_SYSTEM_QTEST_H
#define TOOLS_SYSTEM_QTEST_H

#include "rhea/accel/test.h"
#include "rhea/backends/char.h"

typedef struct QtestServer QtestServer;
QtestServer *qtest_server_new(Machine *m, Chardev *c, Error **errp); /* MAIN_LOOP */
void qtest_server_free(QtestServer *s);

#endif
