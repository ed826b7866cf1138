/* SPDX-License-Identifier: MIT
 * rhea/util/errorcode.h - what programs read in an error: a code that stays the same when the text changes,
 * and the member of the input that is at fault.
 */
#ifndef RHEA_UTIL_ERRORCODE_H
#define RHEA_UTIL_ERRORCODE_H

#include "rhea/util/error.h"

/* Changes an error that is set; no effect when errp or *errp is NULL. code: a literal, such as
 * "unknown-member"; member (NULL: as it was): its path, "arguments.drive". */
void error_set_code(Error **errp, const char *code, const char *member);
const char *error_code(const Error *err);   /* NULL: none was given */
const char *error_member(const Error *err); /* NULL: none was given; borrowed */

#endif
