/* SPDX-License-Identifier: MIT
 * rhea/tools/trace.h - the option -trace (-T), the same for all programs.
 */
#ifndef RHEA_TOOLS_TRACE_H
#define RHEA_TOOLS_TRACE_H

#include "rhea/util/json.h"

#define TRACE_OPTION_ARGS "[[enable=]PATTERN][,events=FILE][,file=FILE]"
/* Acts on it. *help: the list of events was printed, and the program ends. *record: the option as JSON
 * (owned), NULL: not wanted. Main thread, before others exist. */
bool trace_option(const char *arg, bool *help, Json **record, Error **errp);

#endif
