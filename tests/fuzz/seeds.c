// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* seeds FOLDER: the corpus that the fuzzers begin with: one valid record of each shape, some words. */
#include <stdio.h>
#include <stdlib.h>

#include "records.h"
#include "runstate.h"

static union record record;
static const char *folder;

static void save(const char *target, const char *name, const void *bytes, size_t size)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	file = fopen(path, "we");
	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
		perror(path);
		exit(1);
	}
}

static void save_words(const char *name, const char *words)
{
	save("options", name, words, strlen(words));
}

/* Steps of tests/fuzz/fuzz_state.c: what, tid, creator, start, types, inum, flags, time. */
static void save_steps(void)
{
	static const unsigned char steps[][8] = {
		{ 4, 0x11, 0, 0, 0, 0x5f, 0, 16 },  { 4, 0x22, 0x11, 0, 0, 0x5f, 0, 16 },
		{ 0xc0, 0, 0, 0, 0, 0, 0, 32 },	    { 0, 0x33, 0x11, 0, 1, 9, 0, 32 },
		{ 3, 0x22, 0x11, 0, 3, 9, 1, 32 },  { 1, 0x22, 3, 0, 0, 1, 0, 32 },
		{ 2, 0x33, 0x11, 0, 0, 0, 0, 32 },  { 0xe8, 0, 0, 0, 0, 0, 0, 0 },
		{ 0xc0, 0, 0, 0, 0, 0, 0, 32 },	    { 4, 0x11, 0, 0, 0, 0x5f, 0, 32 },
		{ 4, 0x22, 0x11, 0, 1, 0xff, 0, 32 }, { 4, 0x44, 0x11, 0, 1, 0xff, 0, 32 },
		{ 0xd0, 0, 0, 0, 0, 0, 0, 32 },	    { 0xe0, 0, 0, 0, 0, 0, 0, 32 },
		{ 0xf0, 0, 0, 0, 0, 0, 2, 0 },
	};
	unsigned char bytes[1 + sizeof(steps)];

	memcpy(bytes + 1, steps, sizeof(steps));
	bytes[0] = 0x0f;
	save("state", "threads", bytes, sizeof(bytes));
	bytes[0] = 0x07;
	save("state", "processes", bytes, sizeof(bytes));
	bytes[0] = 0x10;
	save("state", "no-table", bytes, sizeof(bytes));
}

/* The same with moves, in the picture, behind it, and found by another. */
static void save_moves(void)
{
	static const unsigned char steps[][8] = {
		{ 4, 0x11, 0, 0, 0, 0x5f, 0x10, 16 },	 { 0xc0, 0, 0, 0, 0, 0, 0, 32 },
		{ 0, 0x33, 0x11, 0, 1, 9, 0x20, 32 },	 { 5, 0x33, 0x11, 0, 0, 9, 0x30, 32 },
		{ 1, 0x33, 3, 0, 0, 1, 0x30, 32 },	 { 5, 0x11, 0, 0, 0, 9, 0x50, 32 },
		{ 3, 0x11, 0, 0, 8, 9, 0x52, 32 },	 { 0xe8, 0, 0, 0, 0, 0, 0, 0 },
		{ 0xc0, 0, 0, 0, 0, 0, 0, 32 },		 { 4, 0x11, 0, 0, 0, 0x5f, 0x70, 32 },
		{ 4, 0x33, 0x11, 0, 0, 0x5f, 0x10, 32 }, { 0xd0, 0, 0, 0, 0, 0, 0, 32 },
		{ 0xe7, 0x33, 0, 0, 0, 0, 0, 0 },	 { 5, 0x33, 0x11, 0, 0, 9, 0x30, 32 },
	};
	unsigned char bytes[1 + sizeof(steps)];

	memcpy(bytes + 1, steps, sizeof(steps));
	bytes[0] = 0x0f;
	save("state", "moves-threads", bytes, sizeof(bytes));
	bytes[0] = 0x07;
	save("state", "moves", bytes, sizeof(bytes));
}

/* Steps of tests/fuzz/fuzz_cgroup.c: what, id, parent, name. */
static void save_trees(void)
{
	static const unsigned char steps[][4] = {
		{ 0, 1, 0, 0 }, { 0, 2, 1, 1 }, { 0, 3, 2, 2 }, { 0, 4, 3, 3 }, { 0, 6, 5, 4 },
		{ 0, 5, 1, 5 }, { 1, 2, 1, 6 }, { 3, 0, 0, 0 }, { 4, 7, 1, 7 }, { 2, 4, 0, 0 },
		{ 0, 8, 7, 8 }, { 0, 9, 8, 9 }, { 1, 7, 1, 10 }, { 3, 200, 0, 0 },
	};
	unsigned char bytes[1 + sizeof(steps)];

	memcpy(bytes + 1, steps, sizeof(steps));
	for (bytes[0] = 0; bytes[0] < 4; bytes[0]++) {
		char name[16];

		snprintf(name, sizeof(name), "tree-%u", bytes[0]);
		save("cgroup", name, bytes, sizeof(bytes));
	}
}

/* Of tests/fuzz/fuzz_container.c: a byte for what it is, and text. */
static void save_text(const char *name, char what, const char *text)
{
	char bytes[1024];
	size_t len = strlen(text);

	if (len >= sizeof(bytes))
		exit(1);
	bytes[0] = what;
	memcpy(bytes + 1, text, len);
	save("container", name, bytes, 1 + len);
}

#define HEX_ID "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860"
#define POD_UID "3d274242-8ee0-11e9-a8a6-1e68d864ef1a"

static void save_paths(void)
{
	static const char *const paths[] = {
		"/docker/" HEX_ID "/system.slice/a.service",
		"/system.slice/docker-" HEX_ID ".scope",
		"/kubepods/burstable/pod" POD_UID "/" HEX_ID,
		"/kubepods-pod" POD_UID ".slice:cri-containerd:" HEX_ID,
		"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" HEX_ID ".scope",
		"/machine.slice/machine-my\\x2dbox.scope/payload",
		"/lxc.payload.a/lxc/b",
		"/garden/good/70eb4ce5-a065-4401-6990-88ed",
		"/ecs/a/5a0d5ceddf6c44c1928d367a815d890f-2531612879",
		"/buildkit/osh60k53lspy0g0cjo94ur00h",
	};
	char name[16];

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		snprintf(name, sizeof(name), "path-%zu", i);
		save_text(name, RUNSTATE_FILES, paths[i]);
	}
}

static void save_files(void)
{
	save_text("docker", RUNSTATE_DOCKER,
		  "/a\n{\"ID\":\"" HEX_ID "\",\"Name\":\"/web\",\"Config\":{\"Image\":\"nginx\","
		  "\"Labels\":{\"io.kubernetes.pod.uid\":\"" POD_UID "\"}}}");
	save_text("oci", RUNSTATE_OCI,
		  "/s.slice/p-n.scope/x\n{\"annotations\":{\"io.container.manager\":\"libpod\","
		  "\"io.kubernetes.cri.image-name\":\"i\"},\"linux\":{\"cgroupsPath\":"
		  "\"s.slice:p:n\"}}");
	save_text("storage", RUNSTATE_STORAGE,
		  "\n[{\"id\":\"" HEX_ID "\",\"names\":[\"web\"],\"metadata\":"
		  "\"{\\\"image-name\\\":\\\"alpine\\\"}\"}]");
	save_text("crun", RUNSTATE_CRUN, "/a/b\n{\"cgroup-path\":\"/a\",\"bundle\":\"/b\"}");
	save_text("runc", RUNSTATE_RUNC,
		  "/a/b\n{\"id\":\"" HEX_ID "\",\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/a\","
		  "\"cpu\":\"/sys/fs/cgroup/cpu/a\"}}");
	save_text("machine", RUNSTATE_MACHINE, "\nNAME=a\nCLASS=vm\n");
}

int main(int argc, char **argv)
{
	static const char bidi[] = "\xe2\x80\xae\0\xe2\x81\xa6\0\xd8\x9c\0\xe2\x80\xa8";
	static char large[2 * NSMON_TEXT_MAX];
	static const char args[] = "sh\0-c\0echo \"\x1b[m\xff\xc3\xa9\xc2\x9b\n\"\0";
	size_t size;

	if (argc != 2)
		return 2;
	folder = argv[1];
	save("event", "fork", &record, record_fork(&record, 696, 858, "sh"));
	size = record_fork_ns(&record, 696, 858, "a b=c");
	for (int type = 0; type < NSMON_NS_TYPES; type++)
		record_changed(&record.fork_ns.change, (enum nsmon_ns_type)type, 4026532142U,
			       type % 2 ? NSMON_REASON_CLONE : NSMON_REASON_FORK);
	save("event", "fork-ns", &record, size);
	save("event", "exec", &record,
	     record_exec(&record, 858, "\n\"\\", "/bin/\xff", args, sizeof(args)));
	save("event", "exec-empty", &record, record_exec(&record, 858, "", "", "", 0));
	save("event", "exec-bidi", &record,
	     record_exec(&record, 858, "x", "/bin/x", bidi, sizeof(bidi)));
	memset(large, 1, sizeof(large));
	save("event", "exec-large", &record,
	     record_exec(&record, 858, "\x02", "/", large, NSMON_TEXT_MAX - 2));
	save("event", "exec-too-large", &record,
	     record_exec(&record, 858, "\x02", "/", large, sizeof(large) - 512));
	save("event", "exit", &record, record_exit(&record, 858, "ls", 0x8b));
	size = record_ns(&record, 858, "unshare");
	record_changed(&record.ns.change, NSMON_NS_NET, 4026532142U, NSMON_REASON_UNSHARE);
	record.ns.change.old.id[NSMON_NS_NET] = 3;
	record.ns.change.now.id[NSMON_NS_NET] = 71;
	save("event", "ns", &record, size);
	save("event", "failed", &record,
	     record_failed(&record, 858, "x", NSMON_REASON_CLONE, 1, 0x10000000));
	save("event", "proc", &record, record_proc(&record, 1, 858, "sh"));
	save("event", "move", &record, record_move(&record, 858, "sh", 77));
	size = record_tree(&record, NSMON_CGROUP_MADE, 77, 1, "docker-" HEX_ID ".scope");
	record_maker(&record, "crun", args, sizeof(args));
	save("event", "tree", &record, size);
	save("event", "tree-removed", &record,
	     record_tree(&record, NSMON_CGROUP_REMOVED, 77, 1, "a\nb"));
	save_steps();
	save_moves();
	save_trees();
	save_paths();
	save_files();
	save("event", "lost", &record, record_lost(&record, 1, 2, 3, 4));

	save_words("size", "8M");
	save_words("size-large", "1073741824");
	save_words("pid", "4194304");
	save_words("kinds", "fork,exec,exit,ns,cgroup");
	save_words("types", "mnt,uts,ipc,net,pid,pid_for_children,user,cgroup,time,"
			    "time_for_children");
	save_words("reasons", "clone,unshare,setns,exec,fork,kernel");
	return 0;
}
