// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads what runtimes write. Must not know where they keep it; believes no type and no length. */
#include "runstate.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

/* The deepest that is known, a seccomp profile in a state.json, is at 7. */
#define DEPTH_MAX 32

#define CGROUP_MOUNT "/sys/fs/cgroup"

struct annotation {
	const char *name;
	size_t field;
};

#define FIELD(name) offsetof(struct runtime_details, name)

/* Of several for one field the first that is there counts. */
static const struct annotation annotations[] = {
	/* containerd: internal/cri/annotations/annotations.go */
	{ "io.kubernetes.cri.container-name", FIELD(container_name) },
	{ "io.kubernetes.cri.sandbox-name", FIELD(pod) },
	{ "io.kubernetes.cri.sandbox-namespace", FIELD(namespace) },
	{ "io.kubernetes.cri.sandbox-uid", FIELD(pod_uid) },
	{ "io.kubernetes.cri.image-name", FIELD(image) },
	/* nerdctl: pkg/labels/labels.go, whose labels are annotations as well */
	{ "nerdctl/name", FIELD(name) },
	/* cri-o: pkg/annotations/internal.go. The uid of a pod is a label of the kubelet's. */
	{ "io.kubernetes.cri-o.ContainerID", FIELD(id) },
	{ "io.kubernetes.cri-o.Name", FIELD(name) },
	{ "io.kubernetes.cri-o.ImageName", FIELD(image) },
	{ "io.kubernetes.cri-o.Image", FIELD(image) },
	/* kubernetes: pkg/kubelet/types/labels.go; labels of Docker's, annotations of CRI-O's */
	{ "io.kubernetes.container.name", FIELD(container_name) },
	{ "io.kubernetes.pod.name", FIELD(pod) },
	{ "io.kubernetes.pod.namespace", FIELD(namespace) },
	{ "io.kubernetes.pod.uid", FIELD(pod_uid) },
};

void runtime_details_free(struct runtime_details *details)
{
	free(details->id);
	free(details->name);
	free(details->image);
	free(details->pod_uid);
	free(details->pod);
	free(details->namespace);
	free(details->container_name);
	free(details->runtime);
	*details = (struct runtime_details){ 0 };
}

void runstate_set(char **field, const char *value, size_t len)
{
	if (!*field && len > 0 && len <= RUNSTATE_STRING_MAX && !memchr(value, 0, len))
		*field = strndup(value, len);
}

/* NULL where there is none, or what should have it is no object. */
static struct json_object *member(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object))
		return NULL;
	json_object_object_get_ex(object, name, &value);
	return value;
}

/* NULL where it is no string, or has a NUL in it. */
static const char *string(struct json_object *value)
{
	const char *text;

	if (!json_object_is_type(value, json_type_string))
		return NULL;
	text = json_object_get_string(value);
	return strlen(text) == (size_t)json_object_get_string_len(value) ? text : NULL;
}

static void take(char **field, struct json_object *value)
{
	const char *text = string(value);

	if (text)
		runstate_set(field, text, strlen(text));
}

static void take_annotations(struct json_object *object, struct runtime_details *details)
{
	for (size_t i = 0; i < sizeof(annotations) / sizeof(*annotations); i++)
		take((char **)((char *)details + annotations[i].field),
		     member(object, annotations[i].name));
}

/* Is it this container's file? One that does not say counts as its own. */
static bool is_of(struct json_object *value, const char *id)
{
	const char *text = string(value);

	return !text || strcmp(text, id) == 0;
}

/* moby: container/container.go. A name has a slash in front of it. */
static int parse_docker(struct json_object *json, const char *id, struct runtime_details *details)
{
	struct json_object *config = member(json, "Config");
	const char *name = string(member(json, "Name"));

	if (!is_of(member(json, "ID"), id))
		return -ENOENT;
	take(&details->id, member(json, "ID"));
	if (name && *name == '/')
		name++;
	if (name)
		runstate_set(&details->name, name, strlen(name));
	take(&details->image, member(config, "Image"));
	take_annotations(member(config, "Labels"), details);
	return 0;
}

/* How much of the path `cgroup` is `container`'s: all of that, or nothing. */
static size_t covers(const char *container, const char *cgroup)
{
	size_t len = strlen(container);

	while (len > 1 && container[len - 1] == '/')
		len--;
	if (len < 2 || container[0] != '/' || strncmp(cgroup, container, len) != 0 ||
	    (cgroup[len] && cgroup[len] != '/'))
		return 0;
	return len;
}

/* A cgroup as runc's systemd driver takes it, opencontainers/runc, docs/systemd.md. */
struct scope {
	const char *slice, *prefix, *name;
	size_t slice_len, prefix_len, name_len;
};

/* SLICE:PREFIX:NAME */
static bool split_scope(const char *text, struct scope *scope)
{
	const char *first = strchr(text, ':');
	const char *second = first ? strchr(first + 1, ':') : NULL;

	if (!second)
		return false;
	scope->slice = text;
	scope->slice_len = (size_t)(first - text);
	scope->prefix = first + 1;
	scope->prefix_len = (size_t)(second - scope->prefix);
	scope->name = second + 1;
	scope->name_len = strlen(scope->name);
	return true;
}

/* PREFIX-NAME.scope */
static bool is_scope(const struct scope *scope, const char *part, size_t len)
{
	static const char suffix[] = ".scope";
	const char *dash = part + scope->prefix_len;

	return len == scope->prefix_len + 1 + scope->name_len + strlen(suffix) &&
	       memcmp(part, scope->prefix, scope->prefix_len) == 0 && *dash == '-' &&
	       memcmp(dash + 1, scope->name, scope->name_len) == 0 &&
	       memcmp(dash + 1 + scope->name_len, suffix, strlen(suffix)) == 0;
}

/* Is the slice directly above this part of the path? */
static bool is_in_slice(const struct scope *scope, const char *cgroup, const char *part)
{
	size_t len = scope->slice_len;

	if (!len) /* then it is the runtime's to choose */
		return true;
	return (size_t)(part - cgroup) >= len + 2 && part[-1] == '/' &&
	       memcmp(part - 1 - len, scope->slice, len) == 0 && part[-2 - (ssize_t)len] == '/';
}

/* A runtime without systemd takes the whole for the name of a directory. */
static size_t covers_scope(const struct scope *scope, const char *container, const char *cgroup)
{
	size_t len;

	for (const char *part = cgroup; *part == '/'; part += len) {
		len = strcspn(++part, "/");
		if ((len == strlen(container) && memcmp(part, container, len) == 0) ||
		    (is_scope(scope, part, len) && is_in_slice(scope, cgroup, part)))
			return (size_t)(part + len - cgroup);
	}
	return 0;
}

/* opencontainers/runtime-spec, config-linux.md, "Cgroups Path". A relative one says nothing. */
static int check_cgroup(const char *container, const char *cgroup, struct runtime_details *details)
{
	struct scope scope;
	size_t len;

	if (!cgroup || !container || !*container)
		return 0;
	if (*container == '/')
		len = covers(container, cgroup);
	else if (split_scope(container, &scope))
		len = covers_scope(&scope, container, cgroup);
	else
		return 0;
	if (!len)
		return -EXDEV;
	details->cgroup_len = len;
	return 0;
}

/* opencontainers/runtime-spec, config.md. io.container.manager: containers/common. */
static int parse_oci(struct json_object *json, const char *cgroup, struct runtime_details *details)
{
	struct json_object *notes = member(json, "annotations");
	const char *manager = string(member(notes, "io.container.manager"));
	int err =
		check_cgroup(string(member(member(json, "linux"), "cgroupsPath")), cgroup, details);

	if (err)
		return err;
	take_annotations(notes, details);
	if (manager && strcmp(manager, "libpod") == 0)
		runstate_set(&details->runtime, "podman", strlen("podman"));
	else if (manager && strcmp(manager, "cri-o") == 0)
		runstate_set(&details->runtime, "cri-o", strlen("cri-o"));
	return 0;
}

/*
 * What json-c (0.16) takes for an object, which begins with room for 16 members, and
 * for another value: a file that a user may write could make it fill the memory.
 */
#define OBJECT_BYTES 800
#define VALUE_BYTES 100
#define PARSED_BYTES_MAX ((size_t)64 << 20)

/* At most; what stands in strings is taken for more than it is. */
static size_t parsed_bytes(const char *text, size_t len)
{
	size_t bytes = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '{' || text[i] == '[')
			bytes += OBJECT_BYTES;
		else if (text[i] == ',')
			bytes += VALUE_BYTES;
	}
	return bytes;
}

static struct json_object *parse_json(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *json = NULL;

	if (!tokener)
		return NULL;
	if (len <= INT_MAX && parsed_bytes(text, len) <= PARSED_BYTES_MAX)
		json = json_tokener_parse_ex(tokener, text, (int)len);
	json_tokener_free(tokener);
	return json;
}

/*
 * containers/storage: containers.go. metadata is JSON in a string, which Podman
 * (libpod/storage.go) and CRI-O (internal/storage/runtime.go) write alike.
 */
static void parse_stored(struct json_object *entry, struct runtime_details *details)
{
	struct json_object *names = member(entry, "names");
	const char *text = string(member(entry, "metadata"));
	struct json_object *metadata = text ? parse_json(text, strlen(text)) : NULL;

	take(&details->id, member(entry, "id"));
	if (json_object_is_type(names, json_type_array) && json_object_array_length(names) > 0)
		take(&details->name, json_object_array_get_idx(names, 0));
	take(&details->image, member(metadata, "image-name"));
	json_object_put(metadata);
}

static int parse_storage(struct json_object *json, const char *id, struct runtime_details *details)
{
	if (!json_object_is_type(json, json_type_array))
		return -EINVAL;
	for (size_t i = 0; i < json_object_array_length(json); i++) {
		struct json_object *entry = json_object_array_get_idx(json, i);
		const char *its_id = string(member(entry, "id"));

		if (!its_id || strcmp(its_id, id) != 0)
			continue;
		parse_stored(entry, details);
		return 0;
	}
	return -ENOENT;
}

/* crun: src/libcrun/status.c. The path is relative to the mount of the cgroups. */
static int parse_crun(struct json_object *json, const char *cgroup, struct runtime_details *details)
{
	const char *path = string(member(json, "cgroup-path"));

	if (path && cgroup) {
		details->cgroup_len = covers(path, cgroup);
		if (!details->cgroup_len)
			return -EXDEV;
	}
	return 0;
}

/* A path without where cgroups are mounted; and, under cgroup v1, without its controllers. */
static size_t covers_mounted(const char *path, bool has_controllers, const char *cgroup)
{
	size_t mount = strlen(CGROUP_MOUNT);

	if (strncmp(path, CGROUP_MOUNT "/", mount + 1) != 0)
		return 0;
	path += mount;
	if (has_controllers)
		path += 1 + strcspn(path + 1, "/");
	return covers(path, cgroup);
}

/*
 * runc: libcontainer/container_linux.go, State. Controllers and their paths; under cgroup
 * v2 one with an empty name, which a hybrid system has besides, below `unified`.
 */
static int parse_runc(struct json_object *json, const char *id, const char *cgroup,
		      struct runtime_details *details)
{
	struct json_object *paths = member(json, "cgroup_paths");
	size_t len = 0;

	if (!is_of(member(json, "id"), id))
		return -ENOENT;
	if (!json_object_is_type(paths, json_type_object) || !cgroup)
		return 0;
	json_object_object_foreach(paths, controller, value)
	{
		const char *path = string(value);

		if (path && !len && !*controller)
			len = covers_mounted(path, false, cgroup);
		if (path && !len)
			len = covers_mounted(path, true, cgroup);
	}
	details->cgroup_len = len;
	return len ? 0 : -EXDEV;
}

/* sd_machine_get_class(3) reads the same line. */
static int parse_machine(const char *text, size_t len, struct runtime_details *details)
{
	static const char key[] = "CLASS=";
	const char *end = text + len, *line_end;

	for (const char *line = text; line < end; line = line_end + 1) {
		line_end = memchr(line, '\n', (size_t)(end - line));
		if (!line_end)
			line_end = end;
		if ((size_t)(line_end - line) < strlen(key) || memcmp(line, key, strlen(key)) != 0)
			continue;
		line += strlen(key);
		details->virtual_machine = line_end - line == 2 && memcmp(line, "vm", 2) == 0;
		return 0;
	}
	return -EINVAL;
}

static int parse_object(enum runstate_file file, struct json_object *json, const char *id,
			const char *cgroup, struct runtime_details *details)
{
	if (file == RUNSTATE_STORAGE)
		return parse_storage(json, id, details);
	if (!json_object_is_type(json, json_type_object))
		return -EINVAL;
	if (file == RUNSTATE_DOCKER)
		return parse_docker(json, id, details);
	if (file == RUNSTATE_OCI)
		return parse_oci(json, cgroup, details);
	if (file == RUNSTATE_CRUN)
		return parse_crun(json, cgroup, details);
	return parse_runc(json, id, cgroup, details);
}

int runstate_parse(enum runstate_file file, const char *text, size_t len, const char *id,
		   const char *cgroup, struct runtime_details *details)
{
	struct json_object *json;
	int err;

	if (file == RUNSTATE_MACHINE)
		return parse_machine(text, len, details);
	json = parse_json(text, len);
	if (!json)
		return -EINVAL;
	err = parse_object(file, json, id, cgroup, details);
	json_object_put(json);
	return err;
}
