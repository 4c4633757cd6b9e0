/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* nsmon's capabilities (capabilities(7)), given up for good. Must not know what they are needed for. */
#ifndef PRIVILEGES_H
#define PRIVILEGES_H

#include <stdbool.h>
#include <stdint.h>

/* Of <linux/capability.h>, as a bit. */
#define PRIVILEGE(capability) ((uint64_t)1 << (capability))

/* Is it there, to be used or to be taken up again? */
bool privileges_have(unsigned int capability);

/*
 * From now on only these are used: what works without the others can be tried.
 * Returns 0 or a negative errno.
 */
int privileges_try(uint64_t kept);

/*
 * Gives up all but these, also for every program that this process may start, where the
 * kernel lets it (taking from the bounding set needs CAP_SETPCAP), and sets no_new_privs.
 * Returns 0 or a negative errno.
 */
int privileges_give_up(uint64_t kept);

#endif
