/* SPDX-License-Identifier: MIT
 * hw/i386/optionrom/linuxboot.S - starts a Linux kernel given with -kernel.
 * Models: the Linux/x86 boot protocol, "Running the kernel": real-mode code entered at setup segment + 20h,
 *         interrupts off, DS = ES = FS = GS = SS = setup segment, stack below the command line.
 * The machine has filled in every header field; this code moves the parts to their places.
 */
#include "optionrom.h"

#define KERNEL_ADDR  0x20
#define KERNEL_SIZE  0x24
#define INITRD_ADDR  0x28
#define INITRD_SIZE  0x2c
#define CMDLINE_ADDR 0x30
#define CMDLINE_SIZE 0x34
#define SETUP_ADDR   0x38
#define SETUP_SIZE   0x3c

    rom_header "Linux loader"

boot_entry:
    cli
    cld
    xorl %eax, %eax
    movw %ax, %ss
    movl $STACK_TOP, %esp
    movw $WORK_SEG, %ax
    movw %ax, %ds
    fetch_long KEY_KERNEL_ADDR, KERNEL_ADDR
    fetch_long KEY_KERNEL_SIZE, KERNEL_SIZE
    fetch_long KEY_INITRD_ADDR, INITRD_ADDR
    fetch_long KEY_INITRD_SIZE, INITRD_SIZE
    fetch_long KEY_CMDLINE_ADDR, CMDLINE_ADDR
    fetch_long KEY_CMDLINE_SIZE, CMDLINE_SIZE
    fetch_long KEY_SETUP_ADDR, SETUP_ADDR
    fetch_long KEY_SETUP_SIZE, SETUP_SIZE
    fetch_item KEY_SETUP_DATA, SETUP_ADDR, SETUP_SIZE
    fetch_item KEY_CMDLINE_DATA, CMDLINE_ADDR, CMDLINE_SIZE
    fetch_item KEY_KERNEL_DATA, KERNEL_ADDR, KERNEL_SIZE
    fetch_item KEY_INITRD_DATA, INITRD_ADDR, INITRD_SIZE

    movl SETUP_ADDR, %ebx
    movl CMDLINE_ADDR, %esi
    subl %ebx, %esi
    subl $16, %esi              /* the stack ends below the command line */
    shrl $4, %ebx
    movw %bx, %ss
    movl %esi, %esp
    movw %bx, %ds
    movw %bx, %es
    movw %bx, %fs
    movw %bx, %gs
    addw $0x20, %bx
    pushw %bx
    pushw $0
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %ebp, %ebp
    lretw

    rom_routines
