/* SPDX-License-Identifier: MIT
 * tools/io/text.c - numbers as commands give them, and results as scripts expect them.
 *
 * Models: qemu-io's output. Threads: the main thread.
 */
#include "io.h"
#include "rhea/util/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool io_size(const char *text, int64_t *out)
{
    uint64_t v;
    if (!text_to_size(text, 'b', &v, NULL)) {
        printf("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- %s\n", text);
        return false;
    }
    if (v > INT64_MAX) {
        printf("Parsing error: argument too large -- %s\n", text);
        return false;
    }
    *out = (int64_t)v;
    return true;
}

bool io_number(const char *text, int64_t *out)
{
    if (!text_to_i64(text, out, NULL) || *out < 0) {
        printf("%s is not a valid number\n", text);
        return false;
    }
    return true;
}

bool io_pattern(const char *text, uint8_t *out)
{
    uint64_t v;
    if (!text_to_u64(text, &v, NULL) || v > 255) {
        printf("%s is not a valid pattern byte\n", text);
        return false;
    }
    *out = (uint8_t)v;
    return true;
}

char *io_size_text(double v)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned u = 0;
    while (v >= 1024 && u + 1 < G_N_ELEMENTS(units)) {
        v /= 1024;
        u++;
    }
    bool whole = v == (double)(int64_t)v;
    char number[64];
    g_snprintf(number, sizeof(number), whole ? "%.0f" : u ? "%.3f" : "%f", v);
    char *dot = strstr(number, ".000");
    if (u && dot) {
        *dot = '\0';
    }
    return g_strdup_printf("%s %s", number, units[u]);
}

int64_t io_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static char *time_text(int64_t ns, bool full)
{
    unsigned centi = (unsigned)(ns / 10000000 % 100), s = (unsigned)(ns / 1000000000);
    if (full || s >= 3600) {
        return g_strdup_printf("%u:%02u:%02u.%02u", s / 3600, s / 60 % 60, s % 60, centi);
    }
    return s >= 60 ? g_strdup_printf("%02u:%02u.%02u", s / 60, s % 60, centi)
                   : g_strdup_printf("%02u.%02u sec", s, centi);
}

void io_report(const IoStats *s, int64_t end_ns)
{
    int64_t ns = MAX(end_ns - s->start_ns, 1);
    double sec = (double)ns / 1e9, rate = (double)s->bytes / sec;
    g_autofree char *time = time_text(ns, s->machine);
    if (s->machine) {
        printf("%" PRId64 ",1,%s,%.3f,%.3f\n", s->bytes, time, rate, 1 / sec);
        return;
    }
    g_autofree char *size = io_size_text((double)s->bytes), *per = io_size_text(rate);
    printf("%s %" PRId64 "/%" PRId64 " bytes at offset %" PRId64 "\n", s->did, s->bytes, s->wanted, s->off);
    printf("%s, 1 ops; %s (%s/sec and %.4f ops/sec)\n", size, time, per, 1 / sec);
}

void io_dump(const uint8_t *bytes, size_t len, int64_t off)
{
    for (size_t at = 0; at < len; at += 16) {
        size_t n = MIN(len - at, 16);
        printf("%08" PRIx64 ":  ", (uint64_t)off + at);
        for (size_t i = 0; i < n; i++) {
            printf("%02x ", bytes[at + i]);
        }
        putchar(' ');
        for (size_t i = 0; i < n; i++) {
            putchar(isalnum(bytes[at + i]) ? bytes[at + i] : '.');
        }
        putchar('\n');
    }
}

void io_failed(const char *what, int r)
{
    printf("%s failed: %s\n", what, strerror(-r));
}
