/* SPDX-License-Identifier: MIT
 * hw/i386/optionrom/flatboot.S - starts a 32-bit kernel: Multiboot 1 or PVH.
 * Models: Multiboot Specification 0.6.96, 3.2 (machine state); the x86/HVM direct boot ABI (PVH): flat 32-bit
 *         protected mode, paging and interrupts off, A20 on, EAX and EBX as the format says.
 * The setup item is a list of numbers written by boot-flat.c (struct FlatBoot). The memory map comes from
 * the firmware, INT 15h E820h, which knows what it keeps for itself.
 */
#include "optionrom.h"

/* struct FlatBoot, at 20h of the work area */
#define FB           0x20
#define FB_EAX       (FB + 0)
#define FB_EBX       (FB + 4)
#define FB_ENTRY     (FB + 8)
#define FB_KIND      (FB + 12)  /* 0: Multiboot map entries, 1: PVH's */
#define FB_MAP       (FB + 16)  /* where the map goes */
#define FB_MAP_LEN   (FB + 20)  /* where its length goes */
#define FB_MEM_LOWER (FB + 24)  /* where the sizes of lower and upper memory go, 0: nowhere */
#define FB_IMAGE     (FB + 28)
#define FB_IMAGE_LEN (FB + 32)
#define FB_EXTRA     (FB + 36)
#define FB_EXTRA_LEN (FB + 40)
#define FB_SIZE      44

#define MAP_COUNT    0x50
#define LOWER_KB     0x54
#define GDTR         0x58
#define GDT          0x60
#define MAP          0x100
#define MAP_ENTRY    24
#define MAP_MAX      32

    rom_header "Kernel loader"

boot_entry:
    cli
    cld
    xorl %eax, %eax
    movw %ax, %ss
    movl $STACK_TOP, %esp
    movw $WORK_SEG, %ax
    movw %ax, %ds
    movw %ax, %es
    movl $KEY_SETUP_DATA << 16, %eax
    movl $FB_SIZE, %ecx
    movl $WORK + FB, %edi
    call dma_fetch
    fetch_item KEY_KERNEL_DATA, FB_IMAGE, FB_IMAGE_LEN
    fetch_item KEY_INITRD_DATA, FB_EXTRA, FB_EXTRA_LEN

    int $0x12
    movzwl %ax, %eax
    movl %eax, LOWER_KB

    /* The firmware's map: 20 bytes an entry, in slots of 24; Multiboot wants a size word in front. */
    movl $0, MAP_COUNT
    xorl %ebx, %ebx
    movw $MAP, %di
1:  movl $20, (%di)
    movl $0, 20(%di)
    pushw %di
    cmpl $0, FB_KIND
    jne 2f
    addw $4, %di
2:  movl $0xe820, %eax
    movl $20, %ecx
    movl $0x534d4150, %edx
    int $0x15
    popw %di
    jc 3f
    incl MAP_COUNT
    addw $MAP_ENTRY, %di
    cmpl $MAP_MAX, MAP_COUNT
    jae 3f
    testl %ebx, %ebx
    jnz 1b
3:  cli
    inb $0x92, %al              /* A20 */
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92

    /* The descriptors move to the work area, whose linear address is known. */
    movw $gdt_template, %si
    movw $GDT, %di
    movw $12, %cx
1:  movw %cs:(%si), %ax
    movw %ax, (%di)
    addw $2, %si
    addw $2, %di
    loop 1b
    movw $23, GDTR
    movl $WORK + GDT, GDTR + 2
    lgdtl GDTR
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    orl $1, %eax
    xorl %ebx, %ebx
    movw %cs, %bx
    shll $4, %ebx
    addl $flat, %ebx
    movl %eax, %cr0
    pushl $0x08
    pushl %ebx
    lretl

    .balign 8
gdt_template:
    .quad 0
    .quad 0x00cf9b000000ffff    /* 08: code, flat, 32 bits */
    .quad 0x00cf93000000ffff    /* 10: data, flat, 32 bits */

    .code32
flat:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $STACK_TOP, %esp
    movl WORK + MAP_COUNT, %eax
    imull $MAP_ENTRY, %eax, %ecx
    movl $WORK + MAP, %esi
    movl WORK + FB_MAP, %edi
    movl %ecx, %edx
    rep movsb
    movl WORK + FB_MAP_LEN, %edi
    cmpl $0, WORK + FB_KIND
    je 1f
    movl %eax, %edx             /* PVH counts entries, Multiboot bytes */
1:  movl %edx, (%edi)
    movl WORK + FB_MEM_LOWER, %edi
    testl %edi, %edi
    jz 1f
    movl WORK + LOWER_KB, %eax
    movl %eax, (%edi)
    /* The upper memory size follows it: what the map has from 1 MiB on, without the firmware's own. */
    movl WORK + MAP_COUNT, %ecx
    movl $WORK + MAP + 4, %esi
2:  jecxz 1f
    cmpl $0x100000, (%esi)
    jne 3f
    cmpl $0, 4(%esi)
    jne 3f
    cmpl $1, 16(%esi)
    jne 3f
    movl 8(%esi), %eax
    movl 12(%esi), %edx
    shrdl $10, %edx, %eax
    movl %eax, 4(%edi)
    jmp 1f
3:  addl $MAP_ENTRY, %esi
    decl %ecx
    jmp 2b
1:  movl WORK + FB_EAX, %eax
    movl WORK + FB_EBX, %ebx
    movl WORK + FB_ENTRY, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %ebp, %ebp
    jmp *%ecx

    .code16
    rom_routines
