/* SPDX-License-Identifier: MIT
 * tests/unit/system/test-numa.c - NUMA nodes: system/numa.c, and what system/machine.c makes of them.
 */
#include "tests/lib/testmachine.h"
#include <string.h>

enum { MB = 1 << 20 };

static bool board_init(Machine *m, Error **errp)
{
    if (!machine_init_ram(m, "ram", errp)) {
        return false;
    }
    region_map(&m->sysmem, 0, &m->ram_region, 0);
    return true;
}

static const BoardType numa_board = {
    .name = "nodes", .numa = true, .max_cpus = 64, .max_ram = 64 * MB, .init = board_init
};

static TestMachine *start(unsigned sockets, unsigned cores)
{
    TestMachine *tm = tm_prepare(&numa_board);
    tm->m->n_cpus = tm->m->max_cpus = sockets * cores;
    tm->m->sockets = sockets;
    tm->m->cores = cores;
    return tm;
}

/* A node with so many MiB. */
static int node(TestMachine *tm, int number, unsigned mib)
{
    g_autofree char *name = g_strdup_printf("node%u", tm->m->numa ? tm->m->numa->n : 0);
    RamBlock *ram = mib ? ram_new(tm->m, name, (uint64_t)mib * MB, &error_abort_slot) : NULL;
    tm->m->ram_size += (uint64_t)mib * MB;
    return numa_add_node(tm->m, number, ram, &error_abort_slot);
}

#define FAILS(call, text)                                                                                    \
    do {                                                                                                     \
        Error *err_ = NULL;                                                                                  \
        g_assert_false(call);                                                                                \
        g_assert_cmpstr(error_text(err_), ==, text);                                                         \
        error_free(err_);                                                                                    \
    } while (0)

static void test_memory(void)
{
    TestMachine *tm = start(1, 1);
    g_assert_cmpint(node(tm, 1, 1), ==, 1);
    g_assert_cmpint(node(tm, 0, 2), ==, 0);
    g_assert_cmpint(node(tm, -1, 0), ==, 2);
    g_assert_cmpint(node(tm, -1, 4), ==, 3);
    numa_complete(tm->m, &error_abort_slot);
    g_assert_cmpuint(numa_ram_size(tm->m->numa), ==, 7 * MB);
    tm_build(tm);
    /* node 0, 1, 3 one behind the other; an access across a border reaches both */
    tm_write(tm, 2 * MB - 4, 8, UINT64_C(0x1122334455667788));
    tm_write(tm, 3 * MB, 1, 0x33);
    g_assert_cmphex(tm->m->numa->node[0].ram->host[2 * MB - 1], ==, 0x55);
    g_assert_cmphex(tm->m->numa->node[1].ram->host[0], ==, 0x44);
    g_assert_cmphex(tm->m->numa->node[3].ram->host[0], ==, 0x33);
    g_assert_true(tm->m->ram == tm->m->numa->node[0].ram);
    g_assert_cmphex(tm_read(tm, 7 * MB, 1), ==, 0xff);
    GByteArray *state = tm_save(tm);
    tm_write(tm, 2 * MB, 4, 0);
    tm_load(tm, state, &error_abort_slot);
    g_assert_cmphex(tm_read(tm, 2 * MB, 4), ==, 0x11223344);
    g_byte_array_unref(state);
    tm_free(tm);
}

static void test_memory_errors(void)
{
    TestMachine *tm = start(1, 1);
    node(tm, 0, 1);
    node(tm, 1, 1);
    tm->m->ram_size = 3 * MB;
    FAILS(numa_complete(tm->m, &err_), "the NUMA nodes have 2 MiB of memory, the machine 3 MiB");
    tm->m->ram_size = MB;
    FAILS(numa_complete(tm->m, &err_), "the NUMA nodes have 2 MiB of memory, the machine 1 MiB");
    FAILS(numa_add_node(tm->m, 1, NULL, &err_) >= 0, "NUMA node 1 is there already");
    FAILS(numa_add_node(tm->m, 128, NULL, &err_) >= 0, "NUMA node 128: the last possible one is 127");
    node(tm, 4, 0);
    tm->m->ram_size = 2 * MB;
    FAILS(numa_complete(tm->m, &err_), "there are 3 NUMA nodes, but no node 2");
    tm_free(tm);

    tm = start(1, 1);
    node(tm, 0, 0);
    tm->m->ram_size = MB;
    FAILS(numa_complete(tm->m, &err_), "the NUMA nodes have nothing of memory, the machine 1 MiB");
    tm_free(tm);
}

/* No board but those that tell the guest takes nodes. */
static void test_board(void)
{
    TestMachine *tm = tm_prepare(&board_none);
    node(tm, 0, 1);
    numa_complete(tm->m, &error_abort_slot);
    FAILS(machine_build(tm->m, &err_), "machine 'none' has no NUMA nodes");
    tm_free(tm);
}

static void expect_cpus(TestMachine *tm, const char *want)
{
    g_autoptr(GString) is = g_string_new(NULL);
    for (unsigned i = 0; i < tm->m->max_cpus; i++) {
        g_string_append_printf(is, "%d", tm->m->numa->cpu_node[i]);
    }
    g_assert_cmpstr(is->str, ==, want);
}

static void test_cpus(void)
{
    TestMachine *tm = start(4, 2);
    node(tm, 0, 1);
    node(tm, 1, 1);
    numa_complete(tm->m, &error_abort_slot); /* nothing said: by socket */
    expect_cpus(tm, "00110011");
    tm_free(tm);

    tm = start(4, 2);
    node(tm, 0, 1);
    node(tm, 1, 1);
    numa_add_cpus(tm->m, 1, 0, 2, &error_abort_slot);
    numa_add_cpus(tm->m, 1, 7, 7, &error_abort_slot);
    numa_add_cpus(tm->m, 0, 3, 6, &error_abort_slot);
    numa_complete(tm->m, &error_abort_slot);
    expect_cpus(tm, "11100001");
    tm_free(tm);

    tm = start(4, 2);
    node(tm, 0, 1);
    node(tm, 1, 1);
    numa_add_cpu(tm->m, 1, &(NumaCpu){ 2, -1, -1, -1 }, &error_abort_slot);
    numa_add_cpu(tm->m, 1, &(NumaCpu){ 3, 0, 1, 0 }, &error_abort_slot);
    numa_complete(tm->m, &error_abort_slot); /* a warning names 0 to 3 and 6, which go to node 0 */
    expect_cpus(tm, "00001101");
    tm_free(tm);
}

static void test_cpu_errors(void)
{
    TestMachine *tm = start(2, 2);
    node(tm, 0, 1);
    node(tm, 1, 1);
    FAILS(numa_add_cpus(tm->m, 2, 0, 0, &err_), "there is no NUMA node 2");
    FAILS(numa_add_cpus(tm->m, 0, 4, 4, &err_), "there is no CPU 4, the last is 3");
    FAILS(numa_add_cpus(tm->m, 0, 0, UINT64_MAX, &err_),
          "there is no CPU 18446744073709551615, the last is 3");
    FAILS(numa_add_cpus(tm->m, 0, 2, 1, &err_), "CPUs 2-1: the first is behind the last");
    numa_add_cpus(tm->m, 0, 0, 1, &error_abort_slot);
    numa_add_cpus(tm->m, 0, 1, 1, &error_abort_slot); /* twice the same says nothing new */
    FAILS(numa_add_cpus(tm->m, 1, 1, 2, &err_), "CPU 1 belongs to NUMA node 0 already");
    FAILS(numa_add_cpu(tm->m, 1, &(NumaCpu){ 0, -1, -1, -1 }, &err_), "CPU 0 belongs to NUMA node 0 already");
    FAILS(numa_add_cpu(tm->m, 1, &(NumaCpu){ 2, -1, -1, -1 }, &err_),
          "no CPU has this place: there are 2 sockets of 1 dies of 2 cores of 1 threads");
    FAILS(numa_add_cpu(tm->m, 9, &(NumaCpu){ -1, -1, -1, -1 }, &err_), "there is no NUMA node 9");
    tm_free(tm);
}

static void test_distances(void)
{
    TestMachine *tm = start(1, 1);
    for (unsigned i = 0; i < 3; i++) {
        node(tm, -1, 1);
    }
    numa_complete(tm->m, &error_abort_slot);
    g_assert_cmpuint(numa_distance(tm->m->numa, 1, 1), ==, 10);
    g_assert_cmpuint(numa_distance(tm->m->numa, 1, 2), ==, 20);
    numa_set_distance(tm->m, 0, 1, 15, &error_abort_slot);
    numa_set_distance(tm->m, 2, 0, 25, &error_abort_slot);
    FAILS(numa_complete(tm->m, &err_), "the distance between NUMA nodes 1 and 2 is missing");
    numa_set_distance(tm->m, 1, 2, 255, &error_abort_slot);
    numa_set_distance(tm->m, 1, 1, 10, &error_abort_slot);
    numa_complete(tm->m, &error_abort_slot);
    static const uint8_t want[3][3] = { { 10, 15, 25 }, { 15, 10, 255 }, { 25, 255, 10 } };
    for (unsigned i = 0; i < 9; i++) {
        g_assert_cmpuint(numa_distance(tm->m->numa, i / 3, i % 3), ==, want[i / 3][i % 3]);
    }
    tm_free(tm);
}

static void test_distance_errors(void)
{
    TestMachine *tm = start(1, 1);
    node(tm, 0, 1);
    node(tm, 1, 1);
    node(tm, 2, 1);
    FAILS(numa_set_distance(tm->m, 0, 3, 20, &err_), "there is no NUMA node 3");
    FAILS(numa_set_distance(tm->m, 1000, 0, 20, &err_), "there is no NUMA node 1000");
    FAILS(numa_set_distance(tm->m, 0, 1, 9, &err_),
          "a distance of 9 is not possible: 10 is local, 255 unreachable");
    FAILS(numa_set_distance(tm->m, 0, 1, 256, &err_),
          "a distance of 256 is not possible: 10 is local, 255 unreachable");
    FAILS(numa_set_distance(tm->m, 1, 1, 11, &err_), "the distance of node 1 from itself is 10, not 11");
    numa_set_distance(tm->m, 0, 1, 15, &error_abort_slot);
    numa_set_distance(tm->m, 1, 0, 16, &error_abort_slot);
    numa_set_distance(tm->m, 0, 2, 20, &error_abort_slot);
    numa_set_distance(tm->m, 1, 2, 20, &error_abort_slot);
    FAILS(numa_complete(tm->m, &err_), "the distance from NUMA node 2 to 0 is missing");
    tm_free(tm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/numa/memory", test_memory);
    g_test_add_func("/numa/memory-errors", test_memory_errors);
    g_test_add_func("/numa/board", test_board);
    g_test_add_func("/numa/cpus", test_cpus);
    g_test_add_func("/numa/cpu-errors", test_cpu_errors);
    g_test_add_func("/numa/distances", test_distances);
    g_test_add_func("/numa/distance-errors", test_distance_errors);
    return g_test_run();
}
