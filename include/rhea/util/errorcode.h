/* SPDX-License-Identifier: MIT
 * rhea/util/errorcode.h - what programs read in an error: a code that stays the same when the text changes,
 * and the member of the input that is at fault. The codes are a catalogue (util/errorcode.c), one for the
 * machine protocol and the command line.
 */
#ifndef RHEA_UTIL_ERRORCODE_H
#define RHEA_UTIL_ERRORCODE_H

#include "rhea/util/error.h"

struct json_object; /* Json */

/* Sets an error with all that belongs to it and returns false: the code (a literal of the catalogue), the
 * member at fault and the cure (NULL: none, or the caller adds one with error_hint()), then the sentence. */
#define error_fail(errp, code, member, cure, ...) \
    error_fail_at((errp), __FILE__, __LINE__, (code), (member), (cure), __VA_ARGS__)
bool error_fail_at(Error **errp, const char *file, int line, const char *code, const char *member,
                   const char *cure, const char *fmt, ...) G_GNUC_PRINTF(7, 8);

/* Changes an error that is set; no effect when errp or *errp is NULL. code: a literal, such as
 * "unknown-member"; member (NULL: as it was): its path, "arguments.drive". */
void error_set_code(Error **errp, const char *code, const char *member);
/* The member, unless one is known already; NULL forgets the one that is known. */
void error_member_default(Error **errp, const char *member);
/* A member that `in` does not have by this name is looked for deeper ("props.NAME"), and forgotten if it is
 * not there. */
void error_place_member(Error **errp, const struct json_object *in);
/* Where a function that failed knows values only: the sentence quotes 'VALUE', so the member is the one with
 * that value. in: what was given, borrowed. No effect when a member is known or none fits; the first that is
 * quoted counts, but the name that a new object shall have (id) is said beside what is wrong with it. */
void error_find_member(Error **errp, const struct json_object *in);

/* A cure, unless there is one already (behind error_hint_nearest(), which may find nothing). */
void error_hint_else(Error **errp, const char *cure);
/* Adds what can be done about a failure of the host, when nothing else says it. */
void error_add_cure(Error **errp);

/* What was given, or what follows from the class or the errno; "failed" when nothing is known. Static. */
const char *error_code(const Error *err);
const char *error_member(const Error *err); /* NULL: none was given; borrowed */

/* What the class or the errno says; "failed" when they say nothing. Static. */
const char *error_code_default(const Error *err);
/* The catalogue: the code of row i and what it means; NULL: no more. */
const char *error_code_row(unsigned i, const char **meaning);

#endif
