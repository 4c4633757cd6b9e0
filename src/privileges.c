// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* nsmon's capabilities, given up for good. Must not know what they are needed for. */
#include "privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <sys/prctl.h>

bool privileges_have(unsigned int capability)
{
	return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_PERMITTED, capability);
}

/* What is not permitted cannot be kept. */
static void select_kept(capng_type_t sets, uint64_t kept)
{
	for (unsigned int i = 0; i <= CAP_LAST_CAP; i++) {
		bool keep = kept & PRIVILEGE(i) && capng_have_capability(CAPNG_PERMITTED, i);

		capng_update(keep ? CAPNG_ADD : CAPNG_DROP, sets, i);
	}
}

/* libcap-ng's functions fail with -1 and less, and errno is the system call's. */
static int apply(capng_select_t sets)
{
	errno = 0;
	if (capng_apply(sets) == 0)
		return 0;
	return errno ? -errno : -EINVAL;
}

int privileges_try(uint64_t kept)
{
	if (capng_get_caps_process())
		return -EINVAL;
	select_kept(CAPNG_EFFECTIVE, kept);
	return apply(CAPNG_SELECT_CAPS);
}

/* Nothing is kept for other programs. It takes a capability that a trial may have put aside. */
static int empty_bounding_set(void)
{
	int err;

	if (!capng_have_capability(CAPNG_PERMITTED, CAP_SETPCAP))
		return 0;
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, CAP_SETPCAP);
	err = apply(CAPNG_SELECT_CAPS);
	if (err)
		return err;
	capng_clear(CAPNG_SELECT_BOUNDS);
	return apply(CAPNG_SELECT_BOUNDS);
}

int privileges_give_up(uint64_t kept)
{
	int err;

	if (capng_get_caps_process())
		return -EINVAL;
	err = empty_bounding_set();
	if (err)
		return err;
	/* The kernel takes the ambient set away with the inheritable one. */
	select_kept(CAPNG_EFFECTIVE | CAPNG_INHERITABLE, 0);
	select_kept(CAPNG_EFFECTIVE, kept);
	select_kept(CAPNG_PERMITTED, kept);
	err = apply(CAPNG_SELECT_CAPS);
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	return err;
}
