/* SPDX-License-Identifier: MIT
 * tests/unit/util/test-fifo8.c - the byte queue, against a GQueue.
 */
#include "rhea/util/fifo8.h"

#include <glib.h>

static void test_basic(void)
{
    Fifo8 f;
    fifo8_init(&f, 2);
    g_assert_cmpuint(fifo8_pop_or(&f, 7), ==, 7);
    g_assert_true(fifo8_push(&f, 1) && fifo8_push(&f, 2));
    g_assert_false(fifo8_push(&f, 3)); /* full: dropped */
    g_assert_cmpuint(fifo8_room(&f), ==, 0);
    g_assert_cmpuint(fifo8_peek_or(&f, 1, 9), ==, 2);
    g_assert_cmpuint(fifo8_peek_or(&f, 2, 9), ==, 9);
    g_assert_cmpuint(fifo8_pop_or(&f, 7), ==, 1);
    fifo8_clear(&f);
    g_assert_cmpuint(fifo8_used(&f), ==, 0);
    fifo8_fini(&f);
    fifo8_init(&f, 0);
    g_assert_false(fifo8_push(&f, 1));
    g_assert_cmpuint(fifo8_pop_or(&f, 4), ==, 4);
    fifo8_fini(&f);
}

static void test_model(void)
{
    Fifo8 f;
    GQueue model = G_QUEUE_INIT;
    GRand *rand = g_rand_new_with_seed(5);
    fifo8_init(&f, 7);
    for (int i = 0; i < 20000; i++) {
        uint8_t byte = i;
        if (g_rand_boolean(rand)) {
            bool room = g_queue_get_length(&model) < 7;
            g_assert_true(fifo8_push(&f, byte) == room);
            if (room) {
                g_queue_push_tail(&model, GUINT_TO_POINTER(byte));
            }
        } else if (g_queue_is_empty(&model)) {
            g_assert_cmpuint(fifo8_pop_or(&f, 0xee), ==, 0xee);
        } else {
            g_assert_cmpuint(fifo8_pop_or(&f, 0xee), ==, GPOINTER_TO_UINT(g_queue_pop_head(&model)));
        }
        g_assert_cmpuint(fifo8_used(&f), ==, g_queue_get_length(&model));
        for (unsigned k = 0; k < fifo8_used(&f); k++) {
            g_assert_cmpuint(fifo8_peek_or(&f, k, 0), ==, GPOINTER_TO_UINT(g_queue_peek_nth(&model, k)));
        }
    }
    g_queue_clear(&model);
    g_rand_free(rand);
    fifo8_fini(&f);
}

/* State from a hostile stream: any head, any used. Nothing outside the buffer is touched (ASan). */
static void test_hostile(void)
{
    Fifo8 f;
    fifo8_init(&f, 16);
    f.head = UINT32_MAX;
    f.used = UINT32_MAX;
    g_assert_false(fifo8_push(&f, 1));
    fifo8_pop_or(&f, 0);
    fifo8_peek_or(&f, UINT32_MAX - 2, 0);
    fifo8_fini(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fifo8/basic", test_basic);
    g_test_add_func("/fifo8/model", test_model);
    g_test_add_func("/fifo8/hostile", test_hostile);
    return g_test_run();
}
