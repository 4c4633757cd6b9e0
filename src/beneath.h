/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Opens what somebody else has put below a directory. */
#ifndef BENEATH_H
#define BENEATH_H

#include <stdbool.h>

/*
 * Opens name, which is relative to the directory dir, as open(2) does with flags (no O_CREAT).
 * No symbolic link is followed, nothing outside of the directory is reached, and, with
 * one_mount, no other mount entered: one of a user's own may never answer. The caller closes
 * the descriptor, which is closed on exec. Returns it, or a negative errno.
 */
int beneath_open(int dir, const char *name, int flags, bool one_mount);

#endif
