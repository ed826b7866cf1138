/* SPDX-License-Identifier: MIT
 * rhea/ui/vdagent.h - -chardev qemu-vdagent: the other end of the desktop agent that runs in the guest.
 */
#ifndef RHEA_UI_VDAGENT_H
#define RHEA_UI_VDAGENT_H

void vdagent_register(void); /* the kind of chardev; once per process */

#endif
