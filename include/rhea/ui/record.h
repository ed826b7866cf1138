/* SPDX-License-Identifier: MIT
 * rhea/ui/record.h - a console as a series of PNG files. MAIN_LOOP, no domain held.
 *
 * A picture is copied when the console has changed, and written by a thread of the recorder's; while it
 * writes, later pictures are not kept but the last one. So neither the guest nor the main loop waits for a
 * disk.
 */
#ifndef RHEA_UI_RECORD_H
#define RHEA_UI_RECORD_H

#include "rhea/ui/console.h"

typedef struct RecordLimits {
    unsigned rate;      /* pictures a second at most */
    uint64_t max_files; /* then it ends */
    uint64_t max_bytes; /* of all files: the file that passes it is the last one */
} RecordLimits;
typedef struct RecordCount {
    uint64_t files, bytes;
    uint64_t skipped;   /* changes that were over before the thread was free */
} RecordCount;
/* ended: once, when it ends by itself, with the reason: on the main loop. The recorder is freed by then. */
typedef void (*RecordEnded)(void *opaque, const RecordCount *count, const char *reason);

/* Makes the folder unless it exists. Files: YYYYMMDDTHHMMSS.mmmZ-NNNNNN.png, the host's UTC and a number
 * from 1; each appears when it is complete. False: *errp. One at a time for a console and for a folder,
 * RECORD_MAX in all. */
enum { RECORD_MAX = 16 };
bool record_start(Console *c, const char *folder, const RecordLimits *limits, RecordEnded ended,
                  void *opaque, Error **errp);
/* Waits for the picture that is being written. False: nothing records it. ended() is not called. */
bool record_stop(Console *c, RecordCount *count, Error **errp);
void record_stop_all(void);

#endif
