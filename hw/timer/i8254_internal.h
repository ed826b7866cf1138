/* SPDX-License-Identifier: MIT
 * hw/timer/i8254_internal.h - the 8254's state, for i8254.c and i8254-inside.c.
 * Threads: the device's domain.
 */
#ifndef HW_TIMER_I8254_INTERNAL_H
#define HW_TIMER_I8254_INTERNAL_H

#include "hw/timer/tickdebt.h"
#include "rhea/hw/isa.h"
#include "rhea/hw/timer.h"
#include "rhea/system/machine.h"

enum { LOST_DISCARD, LOST_DELAY };

typedef struct PitCounter {
    uint8_t mode, access, bcd;
    uint8_t write_low; /* first byte of a two-byte write */
    bool write_second; /* the second byte comes next */
    bool read_second;
    bool blank;     /* no control word since reset; not saved: then nobody needs to know */
    bool loaded;    /* a count was written since the control word */
    bool running;   /* the counting element was loaded (modes 1, 5: triggered) and is not held by the gate */
    bool low_first; /* mode 3: counting began with the low half */
    bool reload;    /* modes 2, 3: `count` takes over at the end of this (half) period */
    bool gate;
    bool status_latched;
    uint8_t status_latch;
    uint8_t latch_left; /* bytes of a latched count not read yet */
    uint16_t latch;
    uint32_t count;     /* count register: 1..65536 */
    uint32_t active;    /* what the counting element was loaded with */
    uint64_t start;     /* pulse that loaded it; while held: pulses already counted */
    uint64_t switch_at; /* pulse at which `reload` happens */
} PitCounter;

typedef struct Pit {
    Device dev;
    MemRegion regs; /* wiring */
    IrqLine irq;
    Timer timer;
    int lost_tick_policy; /* configuration */
    PitCounter c[3];      /* guest-visible state */
    TickDebt debt;
    uint64_t rise; /* pulse of the next edge; 0: none */
    /* i8254-inside.c */
    AccelChipUser inside;
    MachineListener listener;
    PitImageCounter kept[3]; /* what c[] was last told or read as */
    bool kept_valid;
    void (*port61)(void *opaque, bool gate, bool speaker);
    void *port61_opaque;
    void (*before)(void *opaque); /* NULL, or who listens to counter 2 */
    void *before_opaque;
    bool speaker;  /* port 61h, bit 1 */
    bool replaced; /* an HPET has the place of OUT0 */
} Pit;

/* i8254.c */
uint64_t pit_pulses(int64_t ns);
uint64_t pit_now(const Pit *p);
bool pit_is_periodic(const PitCounter *c);
bool pit_is_triggered(const PitCounter *c);
uint64_t pit_elapsed(const PitCounter *c, uint64_t now);
uint32_t pit_decode(const PitCounter *c, uint16_t code);
uint16_t pit_to_code(const PitCounter *c, uint32_t value);
bool pit_out(const PitCounter *c, uint64_t now);
uint64_t pit_next_rise(const PitCounter *c, uint64_t now);
void pit_update_irq(Pit *p); /* drives OUT0 and looks for its next edge */

/* i8254-inside.c: an accelerator that has the chip. */
bool pit_inside_init(Pit *p);
void pit_pull(void *opaque);    /* nothing when the device's state is what counts */
void pit_changed(Pit *p);       /* registers were written by us */
void pit_replace_state(Pit *p); /* reset, load */

#endif
