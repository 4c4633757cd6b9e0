// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* runtime.c and runstate.c on state as runtimes keep it, in a directory of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "no_openat2.h"
#include "runtime.h"

/* 64 digits each. */
#define A "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860"
#define B "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"

#define UID "3d274242-8ee0-11e9-a8a6-1e68d864ef1a"
#define POD_SLICE "kubepods-burstable-pod3d274242_8ee0_11e9_a8a6_1e68d864ef1a.slice"
#define POD "/kubepods.slice/kubepods-burstable.slice/" POD_SLICE

#define BUNDLES "/run/containerd/io.containerd.runtime.v2.task"

static char root[64];
static uid_t user; /* whose rootless containers are tested */
static struct runtime_details details;

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/nsmon-test-XXXXXX");
	assert_non_null(mkdtemp(root));
	user = geteuid() ? geteuid() : 1000;
	memset(&details, 0, sizeof(details));
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	runtime_details_free(&details);
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Of the file, which is in directories that are there by then. */
static const char *path_of(const char *name)
{
	static char path[PATH_MAX];

	assert_true(snprintf(path, sizeof(path), "%s%s", root, name) < (int)sizeof(path));
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	return path;
}

static void put_bytes(const char *name, const char *bytes, size_t len)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static void put(const char *name, const char *text)
{
	put_bytes(name, text, strlen(text));
}

static void put_user(const char *name, const char *text)
{
	put(name, text);
	if (geteuid() == 0)
		assert_int_equal(chown(path_of(name), user, user), 0);
}

static int read_path(const char *cgroup)
{
	struct container_match match;

	memset(&details, 0xff, sizeof(details));
	assert_true(container_match(cgroup, strlen(cgroup), &match));
	return runtime_read(root, cgroup, &match, &details);
}

static int find(const char *cgroup)
{
	struct container_match match;

	memset(&details, 0xff, sizeof(details));
	assert_false(container_match(cgroup, strlen(cgroup), &match));
	return runtime_find_by_cgroup(root, cgroup, &details);
}

static void is(const char *value, const char *expected)
{
	if (expected) {
		assert_non_null(value);
		assert_string_equal(value, expected);
	} else {
		assert_null(value);
	}
}

static void knows(const char *runtime, const char *id, const char *name, const char *image)
{
	assert_true(details.backed);
	assert_false(details.virtual_machine);
	is(details.runtime, runtime);
	is(details.id, id);
	is(details.name, name);
	is(details.image, image);
}

static void knows_pod(const char *uid, const char *pod, const char *namespace,
		      const char *container)
{
	is(details.pod_uid, uid);
	is(details.pod, pod);
	is(details.namespace, namespace);
	is(details.container_name, container);
}

static void knows_nothing(int err)
{
	static const struct runtime_details nothing;

	assert_int_equal(err, -ENOENT);
	assert_memory_equal(&details, &nothing, sizeof(nothing));
}

/* ---- Docker: moby, container/container.go, as Docker 24 writes it */

#define DOCKER "/var/lib/docker/containers/" A "/config.v2.json"
#define DOCKER_CONFIG                                                                              \
	"{\"StreamConfig\":{},\"State\":{\"Running\":true,\"Paused\":false,\"Pid\":4711,"          \
	"\"StartedAt\":\"2026-10-01T10:00:00.1Z\",\"Health\":null},\"ID\":\"" A "\","              \
	"\"Created\":\"2026-10-01T09:59:59.9Z\",\"Managed\":false,\"Path\":\"/entry.sh\","         \
	"\"Args\":[\"nginx\"],\"Config\":{\"Hostname\":\"372618422\",\"Image\":\"nginx:1.27\","    \
	"\"Volumes\":null,\"Labels\":{\"maintainer\":\"x\"}},\"Image\":\"sha256:0123\","           \
	"\"Name\":\"/web\",\"Driver\":\"overlay2\",\"RestartCount\":0}"

static void test_docker(void **state)
{
	(void)state;
	put(DOCKER, DOCKER_CONFIG);
	assert_int_equal(read_path("/system.slice/docker-" A ".scope"), 0);
	knows("docker", A, "web", "nginx:1.27");
	knows_pod(NULL, NULL, NULL, NULL);
	runtime_details_free(&details);
	assert_int_equal(read_path("/docker/" A "/system.slice/a.service"), 0);
	knows("docker", A, "web", "nginx:1.27");
	runtime_details_free(&details);
	knows_nothing(read_path("/docker/" B));
}

/* containerd knows the cgroup of a container of Docker's; and Docker's data may be elsewhere. */
static void test_docker_in_containerd(void **state)
{
	(void)state;
	put(BUNDLES "/moby/" A "/config.json",
	    "{\"ociVersion\":\"1.1.0\",\"linux\":{\"cgroupsPath\":\"system.slice:docker:" A "\"}}");
	assert_int_equal(read_path("/system.slice/docker-" A ".scope/init.scope"), 0);
	knows("docker", NULL, NULL, NULL);
	assert_int_equal(details.cgroup_len, strlen("/system.slice/docker-" A ".scope"));
	runtime_details_free(&details);
	put(DOCKER, DOCKER_CONFIG);
	assert_int_equal(read_path("/system.slice/docker-" A ".scope"), 0);
	knows("docker", A, "web", "nginx:1.27");
	runtime_details_free(&details);
	/* A cgroup that only has its name. */
	knows_nothing(read_path("/system.slice/a.service/docker-" A ".scope"));
	knows_nothing(read_path("/docker/" A));
}

/* dockershim and cri-dockerd: Kubernetes' labels. */
static void test_docker_pod(void **state)
{
	(void)state;
	put("/var/snap/docker/common/var-lib-docker/containers/" A "/config.v2.json",
	    "{\"ID\":\"" A
	    "\",\"Name\":\"/k8s_c_p_ns_u_0\",\"Config\":{\"Image\":\"i@sha256:0\",\"Labels\":{"
	    "\"io.kubernetes.container.name\":\"c\",\"io.kubernetes.pod.name\":\"p\","
	    "\"io.kubernetes.pod.namespace\":\"ns\",\"io.kubernetes.pod.uid\":\"" UID "\"}}}");
	assert_int_equal(read_path(POD "/docker-" A ".scope"), 0);
	knows("docker", A, "k8s_c_p_ns_u_0", "i@sha256:0");
	knows_pod(UID, "p", "ns", "c");
}

static void test_docker_rootless(void **state)
{
	char cgroup[PATH_MAX], passwd[256];

	(void)state;
	snprintf(passwd, sizeof(passwd), "root:x:0:0::/root:/bin/sh\nu:x:%u:%u::/home/u:/bin/sh\n",
		 user, user);
	put("/etc/passwd", passwd);
	put_user("/home/u/.local/share/docker/containers/" A "/config.v2.json", DOCKER_CONFIG);
	snprintf(cgroup, sizeof(cgroup),
		 "/user.slice/user-%u.slice/user@%u.service/user.slice/docker-" A ".scope", user,
		 user);
	assert_int_equal(read_path(cgroup), 0);
	knows("docker", A, "web", "nginx:1.27");
	runtime_details_free(&details);
	/* Another user's, and nobody's. */
	snprintf(cgroup, sizeof(cgroup), "/user.slice/user-%u.slice/docker-" A ".scope", user + 1);
	knows_nothing(read_path(cgroup));
	knows_nothing(read_path("/user.slice/docker-" A ".scope"));
}

/* A user may name a cgroup after root's container, and a container one in it. */
static void test_not_whose_it_is(void **state)
{
	char cgroup[PATH_MAX];

	(void)state;
	put(DOCKER, DOCKER_CONFIG);
	snprintf(cgroup, sizeof(cgroup),
		 "/user.slice/user-%u.slice/user@%u.service/docker-" A ".scope", user, user);
	knows_nothing(read_path(cgroup));
	knows_nothing(read_path("/docker/" B "/docker/" A));
	knows_nothing(read_path("/lxc.payload.a/docker/" A));
}

/* ---- containerd: internal/cri/annotations/annotations.go, config.json of a bundle */

#define CRI_CONFIG(cgroups)                                                                        \
	"{\"ociVersion\":\"1.2.0\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"/x\"]," \
	"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"]}},\"root\":{\"path\":\"rootfs\"},"         \
	"\"annotations\":{\"io.kubernetes.cri.container-name\":\"coredns\","                       \
	"\"io.kubernetes.cri.container-type\":\"container\","                                      \
	"\"io.kubernetes.cri.image-name\":\"registry.k8s.io/coredns/coredns:v1.11.1\","            \
	"\"io.kubernetes.cri.sandbox-id\":\"" B "\","                                              \
	"\"io.kubernetes.cri.sandbox-name\":\"coredns-5d78c9869d-x2x5k\","                         \
	"\"io.kubernetes.cri.sandbox-namespace\":\"kube-system\","                                 \
	"\"io.kubernetes.cri.sandbox-uid\":\"" UID "\"},\"linux\":{\"cgroupsPath\":\"" cgroups     \
	"\",\"seccomp\":{\"syscalls\":[{\"names\":[\"a\"],\"args\":[{\"index\":0}]}]}}}"

static void knows_coredns(void)
{
	knows("containerd", NULL, NULL, "registry.k8s.io/coredns/coredns:v1.11.1");
	knows_pod(UID, "coredns-5d78c9869d-x2x5k", "kube-system", "coredns");
}

static void test_containerd_pod(void **state)
{
	static const char cgroup[] = POD "/cri-containerd-" A ".scope";

	(void)state;
	put(BUNDLES "/k8s.io/" A "/config.json", CRI_CONFIG(POD_SLICE ":cri-containerd:" A));
	assert_int_equal(read_path(cgroup), 0);
	knows_coredns();
	assert_int_equal(details.cgroup_len, strlen(cgroup));
	runtime_details_free(&details);
	assert_int_equal(
		read_path("/system.slice/containerd.service/" POD_SLICE ":cri-containerd:" A), 0);
	knows_coredns();
	runtime_details_free(&details);
	knows_nothing(read_path("/system.slice/cri-containerd-" A ".scope"));
	knows_nothing(read_path("/" POD_SLICE "x/cri-containerd-" A ".scope"));
}

/* With cgroupfs the path does not tell the runtime; the state does. */
static void test_containerd_pod_cgroupfs(void **state)
{
	(void)state;
	put("/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" A "/config.json",
	    CRI_CONFIG("/kubepods/burstable/pod" UID "/" A));
	assert_int_equal(read_path("/kubepods/burstable/pod" UID "/" A "/x"), 0);
	knows_coredns();
	assert_int_equal(details.cgroup_len, strlen("/kubepods/burstable/pod" UID "/" A));
}

/* nerdctl: pkg/labels/labels.go; in a namespace that a user chose. */
static void test_nerdctl(void **state)
{
	(void)state;
	put(BUNDLES "/other/" B "/config.json", "{}");
	put(BUNDLES "/mine/" A "/config.json",
	    "{\"annotations\":{\"nerdctl/name\":\"box\",\"nerdctl/namespace\":\"mine\"},"
	    "\"linux\":{\"cgroupsPath\":\"system.slice:nerdctl:" A "\"}}");
	assert_int_equal(read_path("/system.slice/nerdctl-" A ".scope"), 0);
	knows("containerd", NULL, "box", NULL);
}

static void test_containerd_v1(void **state)
{
	(void)state;
	put("/run/containerd/io.containerd.runtime.v1.linux/k8s.io/" A "/config.json",
	    CRI_CONFIG("/kubepods/burstable/pod" UID "/" A));
	assert_int_equal(read_path("/kubepods/burstable/pod" UID "/" A), 0);
	knows_coredns();
}

/* ctr run ... redis */
static void test_ctr(void **state)
{
	(void)state;
	put(BUNDLES "/default/redis/config.json",
	    "{\"linux\":{\"cgroupsPath\":\"/default/redis\"},\"annotations\":null}");
	assert_int_equal(find("/default/redis"), 0);
	knows("containerd", "redis", NULL, NULL);
	assert_int_equal(details.cgroup_len, strlen("/default/redis"));
	runtime_details_free(&details);
	assert_int_equal(find("/default/redis/a/b"), 0);
	knows("containerd", "redis", NULL, NULL);
	runtime_details_free(&details);
	knows_nothing(find("/default"));
	knows_nothing(find("/default/redi"));
	knows_nothing(find("/default/redis2"));
	knows_nothing(find("/x/default/redis"));
	knows_nothing(find("/../default/redis"));
	put(BUNDLES "/default/other/config.json", "{\"linux\":{\"cgroupsPath\":\"/x/other\"}}");
	knows_nothing(find("/default/other"));
	put(BUNDLES "/default/silent/config.json", "{\"linux\":{}}");
	knows_nothing(find("/default/silent"));
}

/* ---- CRI-O: pkg/annotations/internal.go; containers/storage: containers.go */

static void test_crio(void **state)
{
	(void)state;
	put("/run/containers/storage/overlay-containers/" A "/userdata/config.json",
	    "{\"annotations\":{\"io.container.manager\":\"cri-o\",\"io.kubernetes.container.name\":"
	    "\"etcd\","
	    "\"io.kubernetes.cri-o.ContainerID\":\"" A
	    "\",\"io.kubernetes.cri-o.Image\":\"0123abcd\","
	    "\"io.kubernetes.cri-o.ImageName\":\"registry.k8s.io/etcd:3.5\","
	    "\"io.kubernetes.cri-o.Labels\":\"{}\",\"io.kubernetes.cri-o.Name\":\"k8s_etcd_etcd-a_"
	    "kube-system_u_0\","
	    "\"io.kubernetes.pod.name\":\"etcd-a\",\"io.kubernetes.pod.namespace\":\"kube-system\","
	    "\"io.kubernetes.pod.uid\":\"" UID "\"},\"linux\":{\"cgroupsPath\":\"" POD_SLICE
	    ":crio:" A "\"}}");
	assert_int_equal(read_path(POD "/crio-" A ".scope/container"), 0);
	knows("cri-o", A, "k8s_etcd_etcd-a_kube-system_u_0", "registry.k8s.io/etcd:3.5");
	knows_pod(UID, "etcd-a", "kube-system", "etcd");
	assert_int_equal(details.cgroup_len, strlen(POD "/crio-" A ".scope"));
}

/* ---- Podman: libpod/storage.go; containers/storage: containers.go */

#define PODMAN_CONFIG                                                                              \
	"{\"annotations\":{\"io.container.manager\":\"libpod\",\"io.podman.annotations.init\":"    \
	"\"FALSE\","                                                                               \
	"\"org.opencontainers.image.stopSignal\":\"15\"},"                                         \
	"\"linux\":{\"cgroupsPath\":\"%s:libpod:" A "\"}}"
#define PODMAN_LIST                                                                                \
	"[{\"id\":\"" B "\",\"names\":[\"other\"],\"metadata\":\"{}\"},{\"id\":\"" A "\","         \
	"\"names\":[\"web\"],\"image\":\"0123\",\"layer\":\"45\",\"metadata\":\"{\\\"image-"       \
	"name\\\":"                                                                                \
	"\\\"docker.io/library/"                                                                   \
	"alpine:latest\\\",\\\"image-id\\\":\\\"0123\\\",\\\"name\\\":\\\"web\\\","                \
	"\\\"created-at\\\":1569341160}\",\"created\":\"2026-10-01T10:00:00Z\"}]"

static void put_podman(void (*put_file)(const char *, const char *), const char *folder,
		       const char *driver, const char *list, const char *slice)
{
	char name[PATH_MAX], text[1024];

	snprintf(name, sizeof(name), "%s/%s-containers/" A "/userdata/config.json", folder, driver);
	snprintf(text, sizeof(text), PODMAN_CONFIG, slice);
	put_file(name, text);
	snprintf(name, sizeof(name), "%s/%s-containers/%s", folder, driver, list);
	put_file(name, PODMAN_LIST);
}

static void test_podman(void **state)
{
	(void)state;
	put_podman(put, "/var/lib/containers/storage", "overlay", "containers.json",
		   "machine.slice");
	assert_int_equal(read_path("/machine.slice/libpod-" A ".scope/container"), 0);
	knows("podman", A, "web", "docker.io/library/alpine:latest");
	assert_int_equal(details.cgroup_len, strlen("/machine.slice/libpod-" A ".scope"));
	runtime_details_free(&details);
	knows_nothing(read_path("/machine.slice/libpod-" B ".scope.x/libpod-" A ".scope"));
}

static void test_podman_drivers(void **state)
{
	(void)state;
	/* --rm: in a list of its own */
	put_podman(put, "/var/lib/containers/storage", "vfs", "volatile-containers.json", "");
	assert_int_equal(read_path("/machine.slice/libpod-" A ".scope"), 0);
	knows("podman", A, "web", "docker.io/library/alpine:latest");
	runtime_details_free(&details);
	tear_down(NULL);
	set_up(NULL);
	/* transient-store: all of it gone after a reboot */
	put_podman(put, "/run/containers/storage", "btrfs", "containers.json", "machine.slice");
	assert_int_equal(read_path("/machine.slice/libpod-" A ".scope"), 0);
	knows("podman", A, "web", "docker.io/library/alpine:latest");
	runtime_details_free(&details);
	tear_down(NULL);
	set_up(NULL);
	/* A list alone, in which it is not the first. */
	put("/var/lib/containers/storage/overlay-containers/containers.json", PODMAN_LIST);
	assert_int_equal(read_path("/libpod_parent/libpod-" B), 0);
	knows("podman", B, "other", NULL);
}

static void test_podman_rootless(void **state)
{
	char folder[128], passwd[256], cgroup[PATH_MAX];

	(void)state;
	snprintf(folder, sizeof(folder), "/run/user/%u/containers", user);
	put_podman(put_user, folder, "overlay", "volatile-containers.json", "user.slice");
	snprintf(cgroup, sizeof(cgroup),
		 "/user.slice/user-%u.slice/user@%u.service/user.slice/libpod-" A
		 ".scope/container",
		 user, user);
	/* Without a home: the one that is gone after a reboot tells. */
	assert_int_equal(read_path(cgroup), 0);
	knows("podman", A, "web", "docker.io/library/alpine:latest");
	runtime_details_free(&details);
	tear_down(NULL);
	set_up(NULL);
	snprintf(passwd, sizeof(passwd), "garbage\n:::\nu:x:%u:%u::/home/u:/bin/sh\n", user, user);
	put("/etc/passwd", passwd);
	put_podman(put_user, "/home/u/.local/share/containers/storage", "overlay",
		   "containers.json", "user.slice");
	assert_int_equal(read_path(cgroup), 0);
	knows("podman", A, "web", "docker.io/library/alpine:latest");
}

/* ---- crun: src/libcrun/status.c; runc: libcontainer/container_linux.go */

#define CRUN_STATUS(path)                                                                          \
	"{\"pid\":139179,\"process-start-time\":263473330,\"cgroup-path\":\"" path "\","           \
	"\"scope\":\"\",\"rootfs\":\"rootfs\",\"systemd-cgroup\":false,\"bundle\":\"/bundle\","    \
	"\"created\":\"2021-08-29T14:34:52.000293421Z\",\"owner\":\"root\",\"detached\":true,"     \
	"\"external_descriptors\":\"[\\\"/dev/pts/1\\\"]\"}"
#define RUNC_STATE(id, paths)                                                                      \
	"{\"id\":\"" id "\",\"init_process_pid\":4711,\"init_process_start\":862719,"              \
	"\"created\":\"2026-10-01T10:00:00Z\",\"config\":{\"rootfs\":\"/bundle/rootfs\","          \
	"\"cgroups\":{\"path\":\"\"}},\"rootless\":false,\"cgroup_paths\":{" paths "},"            \
	"\"namespace_paths\":{\"NEWPID\":\"/proc/4711/ns/pid\"}}"

static void test_crun(void **state)
{
	(void)state;
	put("/run/crun/box/status", CRUN_STATUS("/system.slice/crun-box.scope"));
	assert_int_equal(read_path("/system.slice/crun-box.scope"), 0);
	knows("crun", "box", NULL, NULL);
	runtime_details_free(&details);
	knows_nothing(read_path("/x.slice/crun-box.scope"));
	knows_nothing(read_path("/system.slice/crun-bo.scope"));
}

static void test_find_crun(void **state)
{
	(void)state;
	put("/run/crun/outer/status", CRUN_STATUS("/boxes"));
	put("/run/crun/busybox1/status", CRUN_STATUS("/boxes/busybox1/"));
	put("/run/crun/all/status", CRUN_STATUS("/"));
	put("/run/crun/none/status", CRUN_STATUS(""));
	put("/run/crun/garbage/status", "{");
	put("/run/crun/file", "{}");
	put("/run/crun/empty/x", "");
	assert_int_equal(find("/boxes/busybox1"), 0);
	knows("crun", "busybox1", NULL, NULL);
	assert_int_equal(details.cgroup_len, strlen("/boxes/busybox1"));
	runtime_details_free(&details);
	assert_int_equal(find("/boxes/busybox1/init.scope"), 0);
	knows("crun", "busybox1", NULL, NULL);
	runtime_details_free(&details);
	assert_int_equal(find("/boxes/busybox10"), 0);
	knows("crun", "outer", NULL, NULL);
	runtime_details_free(&details);
	knows_nothing(find("/boxe"));
	knows_nothing(find("/x/boxes"));
	knows_nothing(find("/"));
	knows_nothing(find(""));
}

static void test_find_runc(void **state)
{
	(void)state;
	put("/run/runc/v2/state.json", RUNC_STATE("v2", "\"\":\"/sys/fs/cgroup/two\""));
	put("/run/runc/v1/state.json",
	    RUNC_STATE("v1", "\"blkio\":\"/sys/fs/cgroup/blkio/one\","
			     "\"cpu\":\"/sys/fs/cgroup/cpu,cpuacct/one\","
			     "\"name=systemd\":\"/sys/fs/cgroup/systemd/user.slice/one\""));
	put("/run/runc/hybrid/state.json",
	    RUNC_STATE("hybrid", "\"\":\"/sys/fs/cgroup/unified/three\",\"x\":7,\"y\":null"));
	put("/run/runc/elsewhere/state.json", RUNC_STATE("elsewhere", "\"\":\"/cgroup/four\""));
	put("/run/runc/renamed/state.json", RUNC_STATE("x", "\"\":\"/sys/fs/cgroup/five\""));
	assert_int_equal(find("/two/x"), 0);
	knows("runc", "v2", NULL, NULL);
	assert_int_equal(details.cgroup_len, strlen("/two"));
	runtime_details_free(&details);
	assert_int_equal(find("/one"), 0);
	knows("runc", "v1", NULL, NULL);
	runtime_details_free(&details);
	assert_int_equal(find("/user.slice/one"), 0);
	knows("runc", "v1", NULL, NULL);
	runtime_details_free(&details);
	assert_int_equal(find("/three"), 0);
	knows("runc", "hybrid", NULL, NULL);
	runtime_details_free(&details);
	knows_nothing(find("/four"));
	knows_nothing(find("/five"));
	knows_nothing(find("/user.slice"));
}

static void test_runc_scope(void **state)
{
	(void)state;
	put("/run/runc/box/state.json",
	    RUNC_STATE("box", "\"\":\"/sys/fs/cgroup/system.slice/runc-box.scope\""));
	assert_int_equal(read_path("/system.slice/runc-box.scope"), 0);
	knows("runc", "box", NULL, NULL);
}

static void test_find_rootless(void **state)
{
	char name[PATH_MAX], text[PATH_MAX + 256], cgroup[256];

	(void)state;
	snprintf(cgroup, sizeof(cgroup), "/user.slice/user-%u.slice/user@%u.service/a.slice/b",
		 user, user);
	snprintf(name, sizeof(name), "/run/user/%u/crun/b/status", user);
	snprintf(text, sizeof(text), CRUN_STATUS("%s"), cgroup);
	put_user(name, text);
	assert_int_equal(find(cgroup), 0);
	knows("crun", "b", NULL, NULL);
	runtime_details_free(&details);
	/* root's, which names this very cgroup: as with sudo */
	put("/run/crun/sudo/status", CRUN_STATUS("/user.slice/user-1000.slice/session-3.scope/c"));
	assert_int_equal(find("/user.slice/user-1000.slice/session-3.scope/c"), 0);
	knows("crun", "sudo", NULL, NULL);
}

/* --cgroup-parent */
static void test_find_hex_id(void **state)
{
	(void)state;
	put(BUNDLES "/moby/" A "/config.json",
	    "{\"linux\":{\"cgroupsPath\":\"/actions_job/" A "\"}}");
	put(DOCKER, DOCKER_CONFIG);
	assert_int_equal(find("/actions_job/" A "/x"), 0);
	knows("docker", A, "web", "nginx:1.27");
	assert_int_equal(details.cgroup_len, strlen("/actions_job/" A));
	runtime_details_free(&details);
	knows_nothing(find("/" A));
	knows_nothing(find("/actions_job/" B));
}

/* ---- LXC, LXD, Incus: lxc.container.conf(5), linuxcontainers.org */

static void test_lxc(void **state)
{
	(void)state;
	put("/var/lib/lxc/web/config", "lxc.uts.name = web\n");
	put("/var/snap/lxd/common/lxd/containers/snapped/backup.yaml", "");
	put("/var/lib/incus/storage-pools/default/containers/inc/x", "");
	assert_int_equal(mkdir(path_of("/var/lib/incus/containers"), 0755), 0);
	assert_int_equal(symlink("/nowhere", path_of("/var/lib/incus/containers/inc")), 0);
	put("/var/lib/lxd/containers/both/x", "");
	put("/var/lib/incus/containers/both/x", "");
	put("/var/lib/lxc/half/rootfs/x", "");
	assert_int_equal(read_path("/lxc.payload.web/init.scope"), 0);
	knows("lxc", NULL, "web", NULL);
	runtime_details_free(&details);
	assert_int_equal(read_path("/lxc.payload.snapped"), 0);
	knows("lxd", NULL, "snapped", NULL);
	runtime_details_free(&details);
	assert_int_equal(read_path("/lxc/inc"), 0);
	knows("incus", NULL, "inc", NULL);
	runtime_details_free(&details);
	assert_int_equal(read_path("/lxc/both"), 0);
	knows(NULL, NULL, "both", NULL);
	runtime_details_free(&details);
	knows_nothing(read_path("/lxc/half"));
	knows_nothing(read_path("/lxc/none"));
}

static void test_lxc_rootless(void **state)
{
	char cgroup[PATH_MAX], passwd[256];

	(void)state;
	snprintf(passwd, sizeof(passwd), "u:x:%u:%u::/home/u:/bin/sh\n", user, user);
	put("/etc/passwd", passwd);
	put("/var/lib/lxc/roots/config", "");
	put_user("/home/u/.local/share/lxc/mine/config", "");
	snprintf(cgroup, sizeof(cgroup), "/user.slice/user-%u.slice/lxc.payload.mine", user);
	assert_int_equal(read_path(cgroup), 0);
	knows("lxc", NULL, "mine", NULL);
	runtime_details_free(&details);
	snprintf(cgroup, sizeof(cgroup), "/user.slice/user-%u.slice/lxc.payload.roots", user);
	knows_nothing(read_path(cgroup));
}

/* ---- systemd: src/machine/machine.c, machine_save() */

static void test_machine(void **state)
{
	(void)state;
	put("/run/systemd/machines/my-box",
	    "# This is private data. Do not parse.\nNAME=my-box\nSCOPE=machine-my\\x2dbox.scope\n"
	    "SERVICE=systemd-nspawn\nROOT=/var/lib/machines/my-box\nLEADER=4711\nCLASS=container\n"
	    "REALTIME=1\n");
	put("/run/systemd/machines/vm", "NAME=vm\nCLASS=vm\nLEADER=1");
	put("/run/systemd/machines/lxc-1-a", "CLASS=container");
	put("/run/systemd/machines/garbage", "CLASS");
	assert_int_equal(read_path("/machine.slice/machine-my\\x2dbox.scope/payload"), 0);
	knows("systemd-nspawn", NULL, "my-box", NULL);
	runtime_details_free(&details);
	assert_int_equal(read_path("/machine.slice/machine-vm.scope"), 0);
	assert_true(details.virtual_machine);
	assert_false(details.backed);
	runtime_details_free(&details);
	assert_int_equal(read_path("/machine.slice/machine-lxc\\x2d1\\x2da.scope"), 0);
	knows("libvirt-lxc", NULL, "1-a", NULL);
	runtime_details_free(&details);
	assert_int_equal(read_path("/machine.slice/machine-garbage.scope"), 0);
	knows("systemd-nspawn", NULL, "garbage", NULL);
	runtime_details_free(&details);
	knows_nothing(read_path("/machine.slice/machine-none.scope"));
}

/* ---- nothing to be known */

static void test_no_state(void **state)
{
	(void)state;
	knows_nothing(read_path("/docker/" A));
	knows_nothing(read_path("/kubepods/burstable/pod" UID "/" A));
	knows_nothing(read_path("/machine.slice/libpod-" A ".scope"));
	knows_nothing(read_path("/buildkit/osh60k53lspy0g0cjo94ur00h"));
	knows_nothing(read_path("/garden/70eb4ce5-a065-4401-6990-88ed"));
	knows_nothing(read_path("/system.slice/apptainer-4711.scope"));
	knows_nothing(find("/system.slice/a.service"));
	knows_nothing(find("/" A));
}

/* ---- hostile */

/* It is there, and root's: that much is known. */
static void knows_only_that_it_is(void)
{
	assert_int_equal(read_path("/docker/" A), 0);
	knows("docker", NULL, NULL, NULL);
	knows_pod(NULL, NULL, NULL, NULL);
	runtime_details_free(&details);
}

static void test_garbage(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"null",
		"true",
		"7",
		"\"" A "\"",
		"[]",
		"{",
		"{}",
		"{\"ID\":",
		"\xff\xfe\x00",
		"{\"ID\":7,\"Name\":[\"/web\"],\"Config\":\"x\"}",
		"{\"ID\":null,\"Name\":null,\"Config\":null}",
		"{\"Name\":{\"a\":1},\"Config\":[{\"Image\":\"x\"}]}",
		"{\"Name\":\"\",\"Config\":{\"Image\":\"\",\"Labels\":[]}}",
		"{\"Name\":\"/\",\"Config\":{\"Image\":1e999}}",
		"{\"Name\":\"a\\u0000b\",\"Config\":{\"Image\":{}}}",
		"{\"ID\":\"" A "\\u0000\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		put(DOCKER, texts[i]);
		knows_only_that_it_is();
	}
	/* Another container's. */
	put(DOCKER, "{\"ID\":\"" B "\",\"Name\":\"/web\"}");
	knows_nothing(read_path("/docker/" A));
	/* Cut anywhere. */
	for (size_t len = 0; len < strlen(DOCKER_CONFIG); len += 7) {
		put_bytes(DOCKER, DOCKER_CONFIG, len);
		knows_only_that_it_is();
	}
}

static void test_lists_of_garbage(void **state)
{
	static const char list[] = "/var/lib/containers/storage/overlay-containers/containers.json";
	static const char *const entries[] = {
		"[null,7,[],{},{\"id\":7},{\"id\":\"" A "\",\"names\":7,\"metadata\":7}]",
		"[{\"id\":\"" A "\",\"names\":[],\"metadata\":\"\"}]",
		"[{\"id\":\"" A "\",\"names\":[[]],\"metadata\":\"{\"}]",
		"[{\"id\":\"" A "\",\"names\":{\"a\":1},\"metadata\":\"[7]\"}]",
		"[{\"id\":\"" A "\",\"metadata\":\"{\\\"image-name\\\":[]}\"}]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		put(list, entries[i]);
		assert_int_equal(read_path("/libpod_parent/libpod-" A), 0);
		knows("podman", A, NULL, NULL);
		runtime_details_free(&details);
	}
	put(list, "{\"id\":\"" A "\"}");
	knows_nothing(read_path("/libpod_parent/libpod-" A));
	put(list, "[]");
	knows_nothing(read_path("/libpod_parent/libpod-" A));
}

/* A string that is too long is absent, not cut; one that is not is whole. */
static void test_long_strings(void **state)
{
	char text[4096], name[RUNSTATE_STRING_MAX + 2];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[RUNSTATE_STRING_MAX] = 0;
	snprintf(text, sizeof(text), "{\"Name\":\"/%s\",\"Config\":{\"Image\":\"%sx\"}}", name,
		 name);
	put(DOCKER, text);
	assert_int_equal(read_path("/docker/" A), 0);
	knows("docker", NULL, name, NULL);
}

static void test_any_bytes(void **state)
{
	(void)state;
	put(DOCKER, "{\"Name\":\"/\\n\\u001b[2J\xff\",\"Config\":{\"Image\":\"\\\"\\\\\"}}");
	assert_int_equal(read_path("/docker/" A), 0);
	knows("docker", NULL, "\n\033[2J\xff", "\"\\");
}

static void test_deep(void **state)
{
	char *text = malloc(2000001);

	(void)state;
	assert_non_null(text);
	memset(text, '[', 2000000);
	text[2000000] = 0;
	put(DOCKER, text);
	knows_only_that_it_is();
	for (size_t i = 0; i + 5 <= 2000000; i += 5)
		memcpy(text + i, "{\"a\":", 5);
	put(DOCKER, text);
	knows_only_that_it_is();
	free(text);
}

/* 100 MiB that are not there, and 5 MiB that would be read if they were fewer. */
static void test_large(void **state)
{
	const size_t large = 5 << 20;
	char *text = malloc(large);

	(void)state;
	put(DOCKER, DOCKER_CONFIG);
	assert_int_equal(truncate(path_of(DOCKER), 100 << 20), 0);
	knows_only_that_it_is();
	assert_non_null(text);
	memset(text, ' ', large);
	memcpy(text, DOCKER_CONFIG, strlen(DOCKER_CONFIG));
	put_bytes(DOCKER, text, large);
	knows_only_that_it_is();
	put_bytes(DOCKER, text, 4 << 20);
	assert_int_equal(read_path("/docker/" A), 0);
	knows("docker", A, "web", "nginx:1.27");
	free(text);
}

/* Not a file: it is as if it were not there, and is never waited for. */
static void test_no_files(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	(void)state;
	alarm(10);
	assert_int_equal(mkfifo(path_of(DOCKER), 0600), 0);
	knows_nothing(read_path("/docker/" A));
	assert_int_equal(unlink(path_of(DOCKER)), 0);
	assert_int_equal(mkdir(path_of(DOCKER), 0700), 0);
	knows_nothing(read_path("/docker/" A));
	assert_int_equal(rmdir(path_of(DOCKER)), 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "config.v2.json");
	assert_int_equal(chdir(path_of("/var/lib/docker/containers/" A)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chdir("/"), 0);
	knows_nothing(read_path("/docker/" A));
	close(fd);
	assert_int_equal(unlink(path_of(DOCKER)), 0);
	if (geteuid() == 0 && mknod(path_of(DOCKER), S_IFCHR | 0600, 0x0103) == 0) /* null */
		knows_nothing(read_path("/docker/" A));
	alarm(0);
}

/* Links are followed to where state is kept, never in it. */
static void test_links(void **state)
{
	char elsewhere[PATH_MAX];

	(void)state;
	put("/elsewhere/config.v2.json", DOCKER_CONFIG);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere/config.v2.json", root);
	assert_int_equal(symlink(elsewhere, path_of(DOCKER)), 0);
	knows_nothing(read_path("/docker/" A));
	assert_int_equal(unlink(path_of(DOCKER)), 0);
	assert_int_equal(rmdir(path_of("/var/lib/docker/containers/" A)), 0);
	assert_int_equal(symlink("../../../../elsewhere", path_of("/var/lib/docker/containers/" A)),
			 0);
	knows_nothing(read_path("/docker/" A));
	put("/data/containers/" A "/config.v2.json", DOCKER_CONFIG);
	assert_int_equal(unlink(path_of("/var/lib/docker/containers/" A)), 0);
	assert_int_equal(rmdir(path_of("/var/lib/docker/containers")), 0);
	assert_int_equal(rmdir(path_of("/var/lib/docker")), 0);
	assert_int_equal(symlink("../../data", path_of("/var/lib/docker")), 0);
	assert_int_equal(read_path("/docker/" A), 0);
	knows("docker", A, "web", "nginx:1.27");
}

/* Nor is one that a user made of the place itself. */
static void test_links_of_users(void **state)
{
	char name[PATH_MAX], cgroup[256], text[1024];

	(void)state;
	snprintf(cgroup, sizeof(cgroup), "/user.slice/user-%u.slice/b", user);
	snprintf(text, sizeof(text), CRUN_STATUS("%s"), cgroup);
	snprintf(name, sizeof(name), "/run/user/%u/elsewhere/b/status", user);
	put_user(name, text);
	snprintf(name, sizeof(name), "/run/user/%u/crun", user);
	assert_int_equal(symlink("elsewhere", path_of(name)), 0);
	knows_nothing(find(cgroup));
	assert_int_equal(unlink(path_of(name)), 0);
	snprintf(name, sizeof(name), "/run/user/%u/crun/b/status", user);
	put_user(name, text);
	assert_int_equal(find(cgroup), 0);
	knows("crun", "b", NULL, NULL);
}

static void test_owner(void **state)
{
	char name[PATH_MAX], cgroup[PATH_MAX];

	(void)state;
	if (geteuid())
		skip();
	put(DOCKER, DOCKER_CONFIG);
	assert_int_equal(chown(path_of(DOCKER), user, user), 0);
	knows_nothing(read_path("/docker/" A));
	snprintf(name, sizeof(name), "/run/user/%u/crun/a/status", user);
	put(name, CRUN_STATUS("/user.slice/user-1000.slice/crun-a.scope"));
	snprintf(cgroup, sizeof(cgroup), "/user.slice/user-%u.slice/crun-a.scope", user);
	knows_nothing(read_path(cgroup)); /* root's, by a link, say */
	assert_int_equal(chown(path_of(name), user, user), 0);
	assert_int_equal(read_path(cgroup), 0);
	knows("crun", "a", NULL, NULL);
}

/* Ids are names in a directory, whatever who calls says. */
static void test_ids(void **state)
{
	static const char *const ids[] = { "..", ".", "", "../../secret", "a/b", "/etc" };

	(void)state;
	put("/run/secret/status", CRUN_STATUS("/a"));
	put("/run/status", CRUN_STATUS("/a"));
	put("/run/crun/status", CRUN_STATUS("/a"));
	put("/run/crun/a/b/status", CRUN_STATUS("/a"));
	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		struct container_match match = { .runtime = "crun",
						 .id = ids[i],
						 .id_len = strlen(ids[i]) };

		knows_nothing(runtime_read(root, "/a", &match, &details));
	}
	/* An escape may stand for a slash. */
	put("/run/systemd/secret", "CLASS=container");
	knows_nothing(read_path("/machine.slice/machine-..\\x2fsecret.scope"));
}

/* Too many to look at: it ends, and what is found is right. */
static void test_many(void **state)
{
	char name[PATH_MAX];

	(void)state;
	for (int i = 0; i < 1200; i++) {
		snprintf(name, sizeof(name), "/run/crun/b%d/status", i);
		put(name, CRUN_STATUS("/other"));
	}
	knows_nothing(find("/mine"));
	assert_int_equal(find("/other"), 0);
	is(details.runtime, "crun");
}

/* All files together are bounded, too. */
/* Each byte of it would become hundreds in memory. */
static void test_many_values(void **state)
{
	static const char *const parts[] = { "{},", "0,", "[]," };
	const size_t large = (4 << 20) - 64;
	char *text = malloc(large);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		const size_t len = strlen(parts[i]), head = strlen("{\"a\":[");
		size_t at = head;

		memcpy(text, "{\"a\":[", head);
		for (; at + len + strlen("0],") + strlen(DOCKER_CONFIG) < large; at += len)
			memcpy(text + at, parts[i], len);
		memcpy(text + at, "0],", 3);
		at += 3;
		memcpy(text + at, DOCKER_CONFIG + 1, strlen(DOCKER_CONFIG) - 1);
		put_bytes(DOCKER, text, at + strlen(DOCKER_CONFIG) - 1);
		knows_only_that_it_is();
	}
	free(text);
}

static void test_many_large(void **state)
{
	char name[PATH_MAX];

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "/run/crun/b%d/status", i);
		put(name, CRUN_STATUS("/mine"));
		assert_int_equal(truncate(path_of(name), 4 << 20), 0);
	}
	knows_nothing(find("/other"));
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_no_leak(void **state)
{
	int before = open_files();

	(void)state;
	test_docker(NULL);
	test_find_crun(NULL);
	test_machine(NULL);
	assert_int_equal(mkfifo(path_of("/run/crun/fifo/status"), 0600), 0);
	knows_nothing(find("/x"));
	assert_int_equal(open_files(), before);
}

static void test_freed_twice(void **state)
{
	(void)state;
	memset(&details, 0, sizeof(details));
	runtime_details_free(&details);
	put(DOCKER, DOCKER_CONFIG);
	assert_int_equal(read_path("/docker/" A), 0);
	runtime_details_free(&details);
	runtime_details_free(&details);
	assert_null(details.id);
	assert_false(details.backed);
}

/* ---- runstate_parse(): where a cgroup is the container's */

static void test_cgroups_path(void **state)
{
	static const struct {
		const char *path, *cgroup;
		size_t len; /* 0: another one's */
	} samples[] = {
		{ "/a/b", "/a/b", 4 },
		{ "/a/b/", "/a/b/c", 4 },
		{ "/a/b", "/a/bc", 0 },
		{ "/a/b", "/a", 0 },
		{ "/", "/a", 0 },
		{ "s.slice:p:n", "/s.slice/p-n.scope", 18 },
		{ "s.slice:p:n", "/x.slice/s.slice/p-n.scope/y", 26 },
		{ ":p:n", "/any/p-n.scope", 14 },
		{ ":p:n", "/p-n.scope", 10 },
		{ "s.slice:p:n", "/s.slice:p:n", 12 },
		{ "s.slice:p:n", "/p-n.scope", 0 },
		{ "s.slice:p:n", "/xs.slice/p-n.scope", 0 },
		{ "s.slice:p:n", "/s.slice/y/p-n.scope", 0 },
		{ "s.slice:p:n", "/s.slice/p-n.scopes", 0 },
		{ "s.slice:p:n", "/s.slice/p-n", 0 },
		{ "s.slice:p:n", "s.slice/p-n.scope", 0 },
		{ "s.slice:p:n", "", 0 },
		{ "::", "/-.scope", 8 },
		{ "::", "/x", 0 },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		struct runtime_details found = { 0 };
		int len = snprintf(text, sizeof(text), "{\"linux\":{\"cgroupsPath\":\"%s\"}}",
				   samples[i].path);
		int err = runstate_parse(RUNSTATE_OCI, text, (size_t)len, A, samples[i].cgroup,
					 &found);

		if (found.cgroup_len != samples[i].len || err != (samples[i].len ? 0 : -EXDEV))
			fail_msg("%s: %s: %zu", samples[i].path, samples[i].cgroup,
				 found.cgroup_len);
	}
}

static void test_relative_cgroups_path(void **state)
{
	static const char text[] = "{\"linux\":{\"cgroupsPath\":\"a/b:c\"}}";
	struct runtime_details found = { 0 };

	(void)state;
	assert_int_equal(runstate_parse(RUNSTATE_OCI, text, strlen(text), A, "/x", &found), 0);
	assert_int_equal(found.cgroup_len, 0);
	assert_int_equal(runstate_parse(RUNSTATE_OCI, text, strlen(text), A, NULL, &found), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_docker),
		TEST(test_docker_in_containerd),
		TEST(test_docker_pod),
		TEST(test_docker_rootless),
		TEST(test_not_whose_it_is),
		TEST(test_containerd_pod),
		TEST(test_containerd_pod_cgroupfs),
		TEST(test_nerdctl),
		TEST(test_containerd_v1),
		TEST(test_ctr),
		TEST(test_crio),
		TEST(test_podman),
		TEST(test_podman_drivers),
		TEST(test_podman_rootless),
		TEST(test_crun),
		TEST(test_find_crun),
		TEST(test_find_runc),
		TEST(test_runc_scope),
		TEST(test_find_rootless),
		TEST(test_find_hex_id),
		TEST(test_lxc),
		TEST(test_lxc_rootless),
		TEST(test_machine),
		TEST(test_no_state),
		TEST(test_garbage),
		TEST(test_lists_of_garbage),
		TEST(test_long_strings),
		TEST(test_any_bytes),
		TEST(test_deep),
		TEST(test_large),
		TEST(test_no_files),
		TEST(test_links),
		TEST(test_links_of_users),
		TEST(test_owner),
		TEST(test_ids),
		TEST(test_many),
		TEST(test_many_values),
		TEST(test_many_large),
		TEST(test_no_leak),
		TEST(test_freed_twice),
		TEST(test_cgroups_path),
		TEST(test_relative_cgroups_path),
	};

	int failed = cmocka_run_group_tests_name("with openat2", tests, NULL, NULL);

	refuse_openat2();
	return failed + cmocka_run_group_tests_name("without openat2", tests, NULL, NULL);
}
