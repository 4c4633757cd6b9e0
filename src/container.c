// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Knows how runtimes name cgroups. Must not know which of them run, or what they keep in files. */
#include "container.h"

#include <string.h>

/* One directory of a path. */
struct part {
	const char *at;
	size_t len;
};

/* A pattern looks at a directory and at three above it. */
#define PARTS 4

enum id_kind {
	ID_HEX, /* 64 lower-case hexadecimal digits */
	ID_NAME, /* whatever a user chose */
	ID_PID, /* decimal digits */
	ID_BUILD, /* BuildKit's identity.NewID(): 25 digits and lower-case letters */
	ID_TASK, /* of a Fargate task: 32 hexadecimal digits, a dash, a number */
	ID_HANDLE, /* Garden's: a UUID, or the first 28 characters of one */
};

enum pattern_flag {
	IN_POD = 1, /* directly in a pod of Kubernetes */
	AT_TOP = 2, /* nothing above but what `above` names; or a container, whose top it is */
	ESCAPED = 4, /* the id is escaped as systemd's unit names are */
	SUPERVISED = 8, /* the directory `supervisor` in it is not in the container */
	NSPAWN = ESCAPED | SUPERVISED,
	NO_CONTAINER = 16, /* so named, but a virtual machine */
};

/* The whole name of a directory is prefix, id, suffix. */
struct pattern {
	const char *runtime;
	const char *prefix;
	const char *suffix;
	enum id_kind id;
	unsigned int flags;
	const char *above[PARTS - 1]; /* nearest first; "*" any, "*x" ends in x, NULL no more */
};

/*
 * The first that fits is taken. Where a runtime has two drivers, the one named after
 * systemd makes a scope, PREFIX-ID.scope, and cgroupfs a directory below another one.
 */
static const struct pattern patterns[] = {
	/* moby: daemon/oci_linux.go, WithCgroups(). --cgroup-parent may be anything; Buildx's is known. */
	{ "docker", "docker-", ".scope", ID_HEX, 0, { NULL } },
	{ "docker", "", "", ID_HEX, 0, { "docker" } },
	{ "docker", "", "", ID_HEX, 0, { "buildx", "docker" } },
	/* amazon-ecs-agent: task_linux.go, BuildCgroupRoot(). Docker runs them; in Fargate, containerd. */
	{ "docker", "", "", ID_HEX, 0, { "*", "ecs" } },
	{ "docker", "", "", ID_HEX, 0, { "*", "*", "ecs" } },
	{ "containerd", "", "", ID_TASK, 0, { "*", "ecs" } },
	/* buildkit: executor/oci. The one in Docker with systemd takes Docker's prefix (moby #45796). */
	{ "buildkit", "", "", ID_BUILD, 0, { "buildkit" } },
	{ "buildkit", "buildkit-", ".scope", ID_BUILD, 0, { NULL } },
	{ "buildkit", "docker-", ".scope", ID_BUILD, 0, { NULL } },
	/* containerd: getCgroupsPath() of CRI; without a parent, the namespace is the directory. */
	{ "containerd", "cri-containerd-", ".scope", ID_HEX, 0, { NULL } },
	{ "containerd", "", "", ID_HEX, AT_TOP, { "k8s.io" } },
	/* nerdctl: generateCgroupPath(). ctr names containers freely: /default/NAME could be anyone's. */
	{ "containerd", "nerdctl-", ".scope", ID_HEX, 0, { NULL } },
	{ "containerd", "", "", ID_HEX, AT_TOP, { "default" } },
	/* cri-o: internal/config/cgmgr. crio-conmon-ID is the monitor's. */
	{ "cri-o", "crio-", ".scope", ID_HEX, 0, { NULL } },
	{ "cri-o", "crio-", "", ID_HEX, 0, { NULL } },
	/* podman: getOCICgroupPath(). payload with --cgroups=split; libpod-conmon-ID is the monitor's. */
	{ "podman", "libpod-", ".scope", ID_HEX, 0, { NULL } },
	{ "podman", "libpod-", "", ID_HEX, 0, { NULL } },
	{ "podman", "libpod-payload-", "", ID_HEX, 0, { NULL } },
	/* lxc: src/lxc/cgroups/cgfsng.c: from 4.0, from 3.1, before. LXD and Incus leave it as it is. */
	{ "lxc", "lxc.payload.", "", ID_NAME, 0, { NULL } },
	{ "lxc", "", "", ID_NAME, 0, { "lxc.payload" } },
	{ "lxc", "", "", ID_NAME, 0, { "lxc" } },
	/* libvirt: virSystemdMakeScopeName(), and docs/cgroups.rst for where there is no systemd. */
	{ NULL, "machine-qemu\\x2d", ".scope", ID_NAME, NO_CONTAINER, { "*.slice" } },
	{ NULL, "machine-ch\\x2d", ".scope", ID_NAME, NO_CONTAINER, { "*.slice" } },
	{ NULL, "machine-libxl\\x2d", ".scope", ID_NAME, NO_CONTAINER, { "*.slice" } },
	{ "libvirt-lxc", "machine-lxc\\x2d", ".scope", ID_NAME, ESCAPED, { "*.slice" } },
	{ "libvirt-lxc", "", ".libvirt-lxc", ID_NAME, 0, { "machine" } },
	/* systemd: machined's scopes, nspawn's own unit, and the one that NixOS has instead. */
	{ "systemd-nspawn", "machine-", ".scope", ID_NAME, NSPAWN, { "*.slice" } },
	{ "systemd-nspawn", "systemd-nspawn@", ".service", ID_NAME, NSPAWN, { NULL } },
	{ "systemd-nspawn", "container@", ".service", ID_NAME, NSPAWN, { "machine.slice" } },
	/* guardian: rundmc/cgroups. good and bad are what its throttling of the CPU makes. */
	{ "garden", "", "", ID_HANDLE, 0, { "garden" } },
	{ "garden", "", "", ID_HANDLE, 0, { "good", "garden" } },
	{ "garden", "", "", ID_HANDLE, 0, { "bad", "garden" } },
	/* apptainer and singularity: internal/pkg/cgroups/manager_linux.go. */
	{ "apptainer", "apptainer-", ".scope", ID_PID, 0, { NULL } },
	{ "apptainer", "apptainer-oci-", ".scope", ID_NAME, 0, { NULL } },
	{ "apptainer", "", "", ID_PID, AT_TOP, { "apptainer" } },
	{ "singularity", "singularity-", ".scope", ID_PID, 0, { NULL } },
	{ "singularity", "singularity-oci-", ".scope", ID_NAME, 0, { NULL } },
	{ "singularity", "", "", ID_PID, AT_TOP, { "singularity" } },
	/* crun: cgroup-systemd.c; runc: specconv/spec_linux.go; youki: get_cgroup_path(). */
	{ "crun", "crun-", ".scope", ID_NAME, 0, { NULL } },
	{ "runc", "runc-", ".scope", ID_NAME, 0, { NULL } },
	{ "youki", "youki-", ".scope", ID_NAME, 0, { NULL } },
	/* Kubernetes with cgroupfs: containerd and Docker name it alike. */
	{ NULL, "", "", ID_HEX, IN_POD, { NULL } },
};

static bool is_hex_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static size_t hex_digits(const char *at, size_t len)
{
	size_t n = 0;

	while (n < len && is_hex_digit(at[n]))
		n++;
	return n;
}

static size_t digits(const char *at, size_t len)
{
	size_t n = 0;

	while (n < len && at[n] >= '0' && at[n] <= '9')
		n++;
	return n;
}

bool container_is_hex_id(const char *id, size_t len)
{
	return len == 64 && hex_digits(id, len) == len;
}

static bool is_build(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(at[i] >= '0' && at[i] <= '9') && !(at[i] >= 'a' && at[i] <= 'z'))
			return false;
	return len == 25;
}

static bool is_task(const char *at, size_t len)
{
	return len > 33 && len <= 43 && hex_digits(at, 32) == 32 && at[32] == '-' &&
	       digits(at + 33, len - 33) == len - 33;
}

/* Groups of hexadecimal digits as in a UUID, as far as it goes. */
static bool is_uuid(const char *at, size_t len, char dash)
{
	for (size_t i = 0; i < len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? at[i] != dash : !is_hex_digit(at[i]))
			return false;
	return true;
}

/* The kernel makes no directory of these two names, but an id becomes the name of a file. */
static bool is_dots(const char *at, size_t len)
{
	return at[0] == '.' && (len == 1 || (len == 2 && at[1] == '.'));
}

static bool is_id(enum id_kind kind, const char *at, size_t len)
{
	if (len == 0 || len > CONTAINER_ID_MAX)
		return false;
	switch (kind) {
	case ID_HEX:
		return container_is_hex_id(at, len);
	case ID_PID:
		return digits(at, len) == len;
	case ID_BUILD:
		return is_build(at, len);
	case ID_TASK:
		return is_task(at, len);
	case ID_HANDLE:
		return (len == 28 || len == 36) && is_uuid(at, len, '-');
	case ID_NAME:
		return !is_dots(at, len);
	}
	return false;
}

static bool starts_with(const struct part *part, const char *prefix, size_t len)
{
	return part->len >= len && memcmp(part->at, prefix, len) == 0;
}

static bool ends_with(const struct part *part, const char *suffix)
{
	size_t len = strlen(suffix);

	return part->len > len && memcmp(part->at + part->len - len, suffix, len) == 0;
}

static bool is_named(const struct part *part, const char *name)
{
	if (*name == '*')
		return name[1] ? ends_with(part, name + 1) : part->len > 0;
	return part->len == strlen(name) && memcmp(part->at, name, part->len) == 0;
}

/* What is between prefix and suffix, if it is an id. */
static bool match_name(const struct pattern *pattern, const struct part *name, struct part *id)
{
	size_t before = strlen(pattern->prefix), after = strlen(pattern->suffix);

	if (name->len <= before + after || !starts_with(name, pattern->prefix, before) ||
	    !ends_with(name, pattern->suffix))
		return false;
	*id = (struct part){ name->at + before, name->len - before - after };
	return is_id(pattern->id, id->at, id->len);
}

/*
 * SLICE:PREFIX:ID is what runc's systemd driver takes (opencontainers/runc,
 * docs/systemd.md); given to its cgroupfs driver, it becomes a directory of that name.
 */
static bool split_colons(const struct part *name, struct part *slice, struct part *rest)
{
	const char *colon = memchr(name->at, ':', name->len);

	if (!colon)
		return false;
	*slice = (struct part){ name->at, (size_t)(colon - name->at) };
	*rest = (struct part){ colon + 1, name->len - slice->len - 1 };
	return ends_with(slice, ".slice");
}

static bool match_colons(const struct pattern *pattern, const struct part *rest, struct part *id)
{
	size_t before = strlen(pattern->prefix);

	if (strcmp(pattern->suffix, ".scope") != 0 || rest->len <= before ||
	    !starts_with(rest, pattern->prefix, before - 1) || rest->at[before - 1] != ':')
		return false;
	*id = (struct part){ rest->at + before, rest->len - before };
	return is_id(pattern->id, id->at, id->len);
}

static bool is_below(const struct pattern *pattern, const struct part *parts)
{
	size_t n = 0;

	for (; n < PARTS - 1 && pattern->above[n]; n++)
		if (!is_named(&parts[n + 1], pattern->above[n]))
			return false;
	return !(pattern->flags & AT_TOP) || n == PARTS - 1 || parts[n + 1].len == 0;
}

/* A uid: 32 digits of a static pod, or a UUID with the dashes that the driver writes. */
static bool is_pod_uid(const struct part *uid, char dash)
{
	if (uid->len == CONTAINER_POD_UID_MAX)
		return is_uuid(uid->at, uid->len, dash) || is_uuid(uid->at, uid->len, '-');
	return uid->len == 32 && hex_digits(uid->at, uid->len) == uid->len;
}

static bool skip(struct part *part, const char *prefix)
{
	size_t len = strlen(prefix);

	if (!starts_with(part, prefix, len))
		return false;
	part->at += len;
	part->len -= len;
	return true;
}

/*
 * kubernetes: pkg/kubelet/cm/cgroup_manager_linux.go, ToSystemd(): the whole path in
 * one name, as in kubelet-kubepods-burstable-podUID.slice.
 */
static bool is_pod_slice(const struct part *slice, struct part *uid)
{
	struct part rest = { slice->at, slice->len };
	const char *found;

	if (!ends_with(slice, ".slice"))
		return false;
	found = memmem(rest.at, rest.len, "kubepods-", strlen("kubepods-"));
	if (!found || (found > rest.at && found[-1] != '-'))
		return false;
	rest.len -= strlen(".slice") + (size_t)(found - rest.at);
	rest.at = found;
	skip(&rest, "kubepods-");
	if (!skip(&rest, "burstable-"))
		skip(&rest, "besteffort-");
	if (!skip(&rest, "pod"))
		return false;
	*uid = rest;
	return is_pod_uid(uid, '_');
}

/* ToCgroupfs() there: kubepods/podUID, kubepods/burstable/podUID, kubepods/besteffort/podUID. */
static bool is_pod(const struct part *parts, struct part *uid)
{
	const struct part *above = parts + 1;

	if (is_pod_slice(parts, uid))
		return true;
	*uid = *parts;
	if (is_named(above, "burstable") || is_named(above, "besteffort"))
		above++;
	return is_named(above, "kubepods") && skip(uid, "pod") && is_pod_uid(uid, '-');
}

/* parts[0] is the directory in question, and the others are those above it. */
static const struct pattern *find_pattern(const struct part *parts, struct part *id,
					  struct part *pod)
{
	struct part slice = { NULL, 0 }, rest = { NULL, 0 };
	bool has_colons = split_colons(parts, &slice, &rest);
	bool in_pod = has_colons ? is_pod_slice(&slice, pod) : is_pod(parts + 1, pod);

	if (!in_pod)
		*pod = (struct part){ NULL, 0 };
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		const struct pattern *pattern = &patterns[i];

		if (has_colons ? !match_colons(pattern, &rest, id)
			       : !match_name(pattern, parts, id))
			continue;
		if (is_below(pattern, parts) && (in_pod || !(pattern->flags & IN_POD)))
			return pattern;
	}
	return NULL;
}

static bool is_supervisor(const char *at, const char *end)
{
	static const char name[] = "/supervisor";
	const size_t len = sizeof(name) - 1;

	return (size_t)(end - at) >= len && memcmp(at, name, len) == 0 &&
	       (at + len == end || at[len] == '/');
}

/* From the root, nothing empty, as the kernel writes it. */
static bool is_path(const char *path, size_t len)
{
	return len > 1 && path[0] == '/' && path[len - 1] != '/' && !memchr(path, 0, len) &&
	       !memmem(path, len, "//", 2);
}

static bool is_unit(const struct part *part)
{
	return ends_with(part, ".service") || ends_with(part, ".scope");
}

size_t container_unit(const char *path, size_t len, const char **unit)
{
	struct part found = { NULL, 0 };

	while (len) {
		const char *slash = memrchr(path, '/', len);
		size_t at = slash ? (size_t)(slash - path) + 1 : 0;

		found = (struct part){ path + at, len - at };
		if (is_unit(&found))
			break;
		found = (struct part){ NULL, 0 };
		len = at ? at - 1 : 0;
	}
	*unit = found.at;
	return found.len;
}

/* Is this directory, the first of parts, a container's? Then the match is of that one. */
static bool enter(struct part *parts, const char *end, struct container_match *match)
{
	struct part id, pod;
	const struct pattern *pattern = find_pattern(parts, &id, &pod);

	if (!pattern || pattern->flags & NO_CONTAINER ||
	    (pattern->flags & SUPERVISED && is_supervisor(parts[0].at + parts[0].len, end)))
		return false;
	*match = (struct container_match){
		.runtime = pattern->runtime,
		.id = id.at,
		.id_len = id.len,
		.id_escaped = pattern->flags & ESCAPED,
		.nested = match->id_len > 0,
		.pod_uid = pod.at,
		.pod_uid_len = pod.len,
	};
	return true;
}

bool container_match(const char *path, size_t len, struct container_match *match)
{
	struct part parts[PARTS] = { { NULL, 0 } }; /* none of those outside of the container */
	const char *end = path + len, *slash;

	*match = (struct container_match){ 0 };
	if (!is_path(path, len))
		return false;
	for (const char *at = path + 1; at < end; at = slash + 1) {
		slash = memchr(at, '/', (size_t)(end - at));
		if (!slash)
			slash = end;
		memmove(parts + 1, parts, sizeof(parts) - sizeof(*parts));
		parts[0] = (struct part){ at, (size_t)(slash - at) };
		if (enter(parts, end, match)) {
			memset(parts, 0, sizeof(parts));
		} else if (match->id_len == 0 && is_unit(parts)) {
			match->unit = at;
			match->unit_len = parts[0].len;
		}
	}
	return match->id_len > 0;
}

static int hex_value(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* systemd.unit(5), "String escaping for inclusion in unit names"; it stands for no NUL. */
static bool is_escape(const char *at, size_t len)
{
	return len >= 4 && at[0] == '\\' && at[1] == 'x' && hex_digits(at + 2, 2) == 2 &&
	       (at[2] != '0' || at[3] != '0');
}

size_t container_id(const struct container_match *match, char id[CONTAINER_ID_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < match->id_len && n < CONTAINER_ID_MAX; i++) {
		const char *at = match->id + i;

		if (match->id_escaped && is_escape(at, match->id_len - i)) {
			id[n++] = (char)(hex_value(at[2]) << 4 | hex_value(at[3]));
			i += 3;
		} else {
			id[n++] = *at;
		}
	}
	id[n] = 0;
	return n;
}

size_t container_pod_uid(const struct container_match *match, char uid[CONTAINER_POD_UID_MAX + 1])
{
	size_t n = 0;

	for (; n < match->pod_uid_len && n < CONTAINER_POD_UID_MAX; n++) {
		uid[n] = match->pod_uid[n];
		if (uid[n] == '_') /* in the name of a slice a dash goes one level down */
			uid[n] = '-';
	}
	uid[n] = 0;
	return n;
}
