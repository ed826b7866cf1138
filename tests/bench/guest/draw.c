/* SPDX-License-Identifier: MIT
 * draw.c - lines on the text console, and fills and copies of whole screens through the frame buffer
 *
 * Draws on the guest's screen: only where BENCH_SCREEN is in the environment (drawing.py). A unit is a line of text, or a
 * screen.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fb.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE = 79, BAND = 16 };

static struct {
    int tty;
    uint8_t *fb, *picture;
    size_t pitch, rows; /* bytes, lines */
} screen;

static void prepare_console(void)
{
    static const char clear[] = "\033[2J\033[H\033[?25l";
    screen.tty = open("/dev/tty0", O_RDWR | O_CLOEXEC);
    if (screen.tty < 0 || write(screen.tty, clear, sizeof(clear) - 1) < 0) {
        bench_die("/dev/tty0");
    }
}

/* Each line is another one: the screen changes everywhere. */
static uint64_t scroll(uint64_t n)
{
    char line[LINE + 1];
    for (uint64_t i = 0; i < n; i++) {
        for (unsigned k = 0; k < LINE; k++) {
            line[k] = (char)(' ' + (i * 7 + k) % 94);
        }
        line[LINE] = '\n';
        if (write(screen.tty, line, sizeof(line)) != (ssize_t)sizeof(line)) {
            bench_die("writing to the console");
        }
    }
    return n;
}

static void prepare_screen(void)
{
    struct fb_fix_screeninfo fix;
    struct fb_var_screeninfo var;
    int fd = open("/dev/fb0", O_RDWR | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, FBIOGET_FSCREENINFO, &fix) < 0 || ioctl(fd, FBIOGET_VSCREENINFO, &var) < 0) {
        bench_die("/dev/fb0");
    }
    screen.pitch = fix.line_length;
    screen.rows = var.yres;
    size_t size = screen.pitch * screen.rows;
    screen.fb = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (screen.fb == MAP_FAILED) {
        bench_die("mmap of /dev/fb0");
    }
    screen.picture = bench_alloc(size + 256);
    for (size_t i = 0; i < size + 256; i++) {
        screen.picture[i] = (uint8_t)(i ^ i / screen.pitch);
    }
}

static uint64_t fill(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t colour = (i + 1) * 0x0123456789abcdefu, *p = (uint64_t *)screen.fb, *end = p + screen.pitch * screen.rows / 8;
        while (p < end) {
            *p++ = colour;
        }
    }
    return n;
}

/* A picture in memory to the screen, every time a little shifted. */
static uint64_t blit(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        for (size_t y = 0; y < screen.rows; y++) {
            memcpy(screen.fb + y * screen.pitch, screen.picture + y * screen.pitch + i * 8 % 256, screen.pitch);
        }
    }
    return n;
}

/* The screen up by a band, and a new band below: what scrolls without a copy elsewhere reads what it has drawn. */
static uint64_t move(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        size_t kept = screen.rows - BAND;
        memmove(screen.fb, screen.fb + BAND * screen.pitch, kept * screen.pitch);
        memcpy(screen.fb + kept * screen.pitch, screen.picture + i % 200 * screen.pitch, BAND * screen.pitch);
    }
    return n;
}

const Workload bench_draw[] = {
    {"scroll", 200, scroll, prepare_console, NEED_SCREEN},
    {"fill", 20, fill, prepare_screen, NEED_SCREEN},
    {"blit", 20, blit, prepare_screen, NEED_SCREEN},
    {"move", 20, move, prepare_screen, NEED_SCREEN},
    {0},
};
