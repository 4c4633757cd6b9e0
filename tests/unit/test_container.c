// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* container.c on paths as runtimes make them, and on paths that only look like theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "container.h"

/* 64 digits each. */
#define A "3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860"
#define B "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"

#define UID "3d274242-8ee0-11e9-a8a6-1e68d864ef1a"
#define UID_ "3d274242_8ee0_11e9_a8a6_1e68d864ef1a"
#define STATIC_UID "3d6beaa3004913efb68ce073d73494b0"

#define BUILD "osh60k53lspy0g0cjo94ur00h"
#define USER "/user.slice/user-1000.slice/user@1000.service"

struct sample {
	const char *path;
	const char *runtime;
	const char *id; /* as the runtime tells it */
	const char *pod; /* as Kubernetes tells it */
	bool nested;
};

/* A comment says who documents a path. One line each, where it fits. */
/* clang-format off */
static const struct sample containers[] = {
	/* Docker with cgroupfs: docs.docker.com, "Runtime metrics" */
	{ "/docker/" A, "docker", A, NULL, false },
	/* Docker with systemd, as on CentOS: neuvector, share/system/cgroup_test.go */
	{ "/system.slice/docker-" A ".scope", "docker", A, NULL, false },
	/* systemd in Docker: earthly #1533 has scopes made inside of a container */
	{ "/system.slice/docker-" A ".scope/grp.scope", "docker", A, NULL, false },
	{ "/system.slice/docker-" A ".scope/init.scope", "docker", A, NULL, false },
	{ "/docker/" A "/system.slice/nginx.service", "docker", A, NULL, false },
	/* Rootless Docker with systemd: docs.docker.com, "Rootless mode" */
	{ USER "/user.slice/docker-" A ".scope", "docker", A, NULL, false },
	{ USER "/app.slice/docker-" A ".scope", "docker", A, NULL, false },
	/* Docker with --cgroup-parent=x.slice: docs.docker.com, dockerd, "Default cgroup parent" */
	{ "/x.slice/docker-" A ".scope", "docker", A, NULL, false },
	/* Docker in Docker: moby, hack/dind */
	{ "/docker/" A "/docker/" B, "docker", B, NULL, true },
	{ "/system.slice/docker-" A ".scope/system.slice/docker-" B ".scope", "docker", B, NULL, true },
	/* Buildx's docker-container driver: docker/buildx #782 */
	{ "/docker/buildx/" A, "docker", A, NULL, false },
	/* ... and what it builds: the same, and moby/buildkit #580 */
	{ "/docker/buildx/" A "/buildkit/" BUILD, "buildkit", BUILD, NULL, true },
	/* BuildKit in Docker with cgroupfs: moby #37644 */
	{ "/docker/buildkit/" BUILD, "buildkit", BUILD, NULL, false },
	/* BuildKit on its own: moby/buildkit #580 */
	{ "/buildkit/" BUILD, "buildkit", BUILD, NULL, false },
	/* BuildKit in Docker with systemd: moby #45796 */
	{ "/system.slice/system.slice:docker:" BUILD, "buildkit", BUILD, NULL, false },
	/* BuildKit with containerd and systemd: moby/buildkit #5033 */
	{ "/system.slice/buildkit-" BUILD ".scope", "buildkit", BUILD, NULL, false },
	/* Amazon ECS: aws/amazon-ecs-agent #1119, with a task's UUID */
	{ "/ecs/55091c13-b8cf-4801-b527-f4601742204d/" A, "docker", A, NULL, false },
	/* ... with the cluster's name: opentelemetry-java-instrumentation, ContainerInfoTest */
	{ "/ecs/haissam-ecs-classic/5a0d5ceddf6c44c1928d367a815d890f/" A, "docker", A, NULL, false },
	/* ... on cgroup v2: amazon-ecs-agent, task_linux.go */
	{ "/ecstasks.slice/ecstasks-5a0d5ceddf6c44c1928d367a815d890f.slice/docker-" A ".scope", "docker", A, NULL, false },
	/* Fargate 1.4: DataDog/dd-trace-java #2432, opentelemetry-js-contrib #2032 */
	{ "/ecs/5a0d5ceddf6c44c1928d367a815d890f/5a0d5ceddf6c44c1928d367a815d890f-2531612879", "containerd",
	  "5a0d5ceddf6c44c1928d367a815d890f-2531612879", NULL, false },
	/* nerdctl with systemd: falcosecurity/plugins #1378 */
	{ "/system.slice/nerdctl-" A ".scope", "containerd", A, NULL, false },
	/* ... rootless: nerdctl, docs/rootless.md */
	{ USER "/user.slice/nerdctl-" A ".scope", "containerd", A, NULL, false },
	/* nerdctl with cgroupfs, and the namespace as the directory: containerd #1617 */
	{ "/default/" A, "containerd", A, NULL, false },
	/* CRI without a parent from the kubelet: the same */
	{ "/k8s.io/" A, "containerd", A, NULL, false },
	/* CRI with systemd outside of pods: containerd/cri #290 */
	{ "/system.slice/system-getty.slice/cri-containerd-" A ".scope", "containerd", A, NULL, false },

	/* Kubernetes with cgroupfs, best effort: opentelemetry-java-instrumentation, ContainerInfoTest */
	{ "/kubepods/besteffort/pod" UID "/" A, NULL, A, UID, false },
	/* ... burstable, guaranteed: kubernetes.io, "Node Allocatable", and pkg/kubelet/cm */
	{ "/kubepods/burstable/pod" UID "/" A, NULL, A, UID, false },
	{ "/kubepods/pod" UID "/" A, NULL, A, UID, false },
	/* ... of a static pod, whose uid is a hash: Google Cloud Shell */
	{ "/kubepods/besteffort/pod" STATIC_UID "/" A, NULL, A, STATIC_UID, false },
	/* ... by CRI-O: cri-o #812 */
	{ "/kubepods/burstable/pod" UID "/crio-" A, "cri-o", A, UID, false },
	/* Kubernetes with systemd, by Docker: kontena/pharos-cluster #440 */
	{ "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/docker-" A ".scope",
	  "docker", A, UID, false },
	/* ... by containerd: containerd, docs/cri/config.md, SystemdCgroup */
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/cri-containerd-" A ".scope",
	  "containerd", A, UID, false },
	/* ... guaranteed */
	{ "/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" A ".scope", "containerd", A, UID, false },
	/* ... by CRI-O: opencontainers/runc #4620 */
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/crio-" A ".scope",
	  "cri-o", A, UID, false },
	/* ... where crun has made a directory of its own: crun.1, run.oci.systemd.subgroup */
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/crio-" A ".scope/container",
	  "cri-o", A, UID, false },
	/* ... of a static pod */
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" STATIC_UID ".slice/crio-" A ".scope",
	  "cri-o", A, STATIC_UID, false },
	/* kubelet with systemd, containerd with cgroupfs: opencontainers/runc, docs/systemd.md; k3s */
	{ "/system.slice/containerd.service/kubepods-besteffort-pod" UID_ ".slice:cri-containerd:" A,
	  "containerd", A, UID, false },
	{ "/kubepods-burstable-pod" UID ".slice:cri-containerd:" A, "containerd", A, UID, false },
	/* ... and CRI-O: lxc/lxcri, cmd/cgroup_test.go */
	{ "/kubepods-burstable-pod" UID_ ".slice:crio:" A, "cri-o", A, UID, false },
	/* kind, from inside: kubernetes-sigs/kind #3947 */
	{ "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod"
	  UID_ ".slice/cri-containerd-" A ".scope", "containerd", A, UID, false },
	/* kind, from the host: containerd/nri #227 */
	{ "/system.slice/docker-" B ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_
	  ".slice/cri-containerd-" A ".scope", "containerd", A, UID, true },
	/* ... with cgroupfs: kind, pkg/cluster/internal/kubeadm/config.go, cgroupRoot */
	{ "/docker/" B "/kubelet/kubepods/burstable/pod" UID "/" A, NULL, A, UID, true },
	/* minikube with CRI-O in Docker: kubernetes/minikube #11280 */
	{ "/docker/" B "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" A ".scope",
	  "cri-o", A, UID, true },
	/* kind's node itself: its systemd's own units */
	{ "/docker/" B "/system.slice/containerd.service", "docker", B, NULL, false },
	/* Docker in a pod: kubernetes/test-infra #37440. Its pod is that of the outer container. */
	{ "/kubepods/burstable/pod" UID "/" A "/docker/" B, "docker", B, NULL, true },
	/* systemd in a pod's container: still the pod's */
	{ "/kubepods/burstable/pod" UID "/" A "/system.slice/a.service", NULL, A, UID, false },

	/* Podman, root, systemd: podman.io, podman-run.1, --cgroup-manager */
	{ "/machine.slice/libpod-" A ".scope", "podman", A, NULL, false },
	/* ... with crun's directory: crun.1, run.oci.systemd.subgroup */
	{ "/machine.slice/libpod-" A ".scope/container", "podman", A, NULL, false },
	/* ... in a pod: podman-pod-create.1 */
	{ "/machine.slice/machine-libpod_pod_" B ".slice/libpod-" A ".scope", "podman", A, NULL, false },
	/* Podman with cgroupfs: ansible-test, containers.py */
	{ "/libpod_parent/libpod-" A, "podman", A, NULL, false },
	/* ... with a directory of its own in it: Podman 1 */
	{ "/libpod_parent/libpod-" A "/ctr", "podman", A, NULL, false },
	/* Rootless: podman #4639 */
	{ USER "/user.slice/libpod-" A ".scope", "podman", A, NULL, false },
	{ USER "/user.slice/libpod-" A ".scope/container", "podman", A, NULL, false },
	/* ... in a pod */
	{ USER "/user.slice/user-libpod_pod_" B ".slice/libpod-" A ".scope/container", "podman", A, NULL, false },
	/* Quadlet, --cgroups=split: containers/qm, docs; its systemd's units are in it */
	{ "/QM.slice/qm.service/libpod-payload-" A "/system.slice/dbus-broker.service", "podman", A, NULL, false },
	{ USER "/app.slice/my_container.service/libpod-payload-" A, "podman", A, NULL, false },
	/* Podman in Docker, Podman in Podman: quay.io/podman/stable */
	{ "/docker/" B "/libpod_parent/libpod-" A, "podman", A, NULL, true },
	{ "/machine.slice/libpod-" B ".scope/container/libpod_parent/libpod-" A, "podman", A, NULL, true },

	/* LXC before 3.1, with systemd in it: lxc/lxc #2782 */
	{ "/lxc/web/system.slice/ssh.service", "lxc", "web", NULL, false },
	{ "/lxc/web", "lxc", "web", NULL, false },
	/* ... unprivileged: lxc/lxc #121 */
	{ "/user/1000.user/c3.session/lxc/web", "lxc", "web", NULL, false },
	/* LXC 3.1: netdata #7760 */
	{ "/lxc.payload/web/init.scope", "lxc", "web", NULL, false },
	/* LXC 4.0: liske/needrestart #215 */
	{ "/lxc.payload.web", "lxc", "web", NULL, false },
	/* ... with lxc-attach's directory: lxc/lxc #3373 */
	{ "/lxc.payload.web/.lxc", "lxc", "web", NULL, false },
	/* ... unprivileged: linuxcontainers.org, "Getting started", systemd-run --user --scope */
	{ USER "/app.slice/run-r9b1.scope/lxc.payload.web", "lxc", "web", NULL, false },
	/* Proxmox, whose names are numbers: lxc/lxc #3353 */
	{ "/lxc/101/ns/system.slice/cron.service", "lxc", "101", NULL, false },
	/* LXD with a project: liske/needrestart #188 */
	{ "/lxc.payload.project_web/system.slice", "lxc", "project_web", NULL, false },
	/* LXC in LXC: linuxcontainers.org, "nesting" */
	{ "/lxc.payload.outer/lxc.payload.inner", "lxc", "inner", NULL, true },
	/* Docker in LXC: the same */
	{ "/lxc.payload.web/system.slice/docker-" A ".scope", "docker", A, NULL, true },

	/* systemd-nspawn: systemd #5490, #18104 */
	{ "/machine.slice/machine-rawhide.scope", "systemd-nspawn", "rawhide", NULL, false },
	{ "/machine.slice/machine-rawhide.scope/payload", "systemd-nspawn", "rawhide", NULL, false },
	{ "/machine.slice/machine-rawhide.scope/payload/system.slice/dbus.service", "systemd-nspawn", "rawhide", NULL, false },
	{ "/machine.slice/machine-my\\x2dbox.scope/payload/init.scope", "systemd-nspawn", "my-box", NULL, false },
	/* ... with --slice=: systemd-nspawn(1) */
	{ "/web.slice/machine-a.scope/payload", "systemd-nspawn", "a", NULL, false },
	/* ... as a service: systemd-nspawn@.service, and before Slice=machine.slice */
	{ "/machine.slice/systemd-nspawn@my\\x2dbox.service/payload", "systemd-nspawn", "my-box", NULL, false },
	{ "/system.slice/system-systemd\\x2dnspawn.slice/systemd-nspawn@a.service/payload/init.scope",
	  "systemd-nspawn", "a", NULL, false },
	/* NixOS: nixpkgs #48771 */
	{ "/machine.slice/container@web.service/payload/init.scope", "systemd-nspawn", "web", NULL, false },
	/* Only directly in the machine is it the supervisor's. */
	{ "/machine.slice/machine-a.scope/payload/supervisor", "systemd-nspawn", "a", NULL, false },
	{ "/machine.slice/machine-a.scope/supervisors", "systemd-nspawn", "a", NULL, false },
	/* libvirt's LXC driver: libvirt, docs/cgroups.rst */
	{ "/machine.slice/machine-lxc\\x2d123\\x2dcontainer1.scope", "libvirt-lxc", "123-container1", NULL, false },
	{ "/machine/container1.libvirt-lxc", "libvirt-lxc", "container1", NULL, false },

	/* Garden: elastic/apm-agent-nodejs #1191 */
	{ "/system.slice/garden.service/garden/70eb4ce5-a065-4401-6990-88ed", "garden",
	  "70eb4ce5-a065-4401-6990-88ed", NULL, false },
	/* ... with a whole UUID: concourse #3613 */
	{ "/garden/0d233f08-00c2-43d8-5b57-2c2af4f5bfc0", "garden", "0d233f08-00c2-43d8-5b57-2c2af4f5bfc0", NULL, false },
	/* ... throttled: OpenJDK's tests of CgroupV1SubsystemController */
	{ "/system.slice/garden.service/garden/good/2f57368b-0eda-4e52-64d8-af5c", "garden",
	  "2f57368b-0eda-4e52-64d8-af5c", NULL, false },
	{ "/garden/bad/2f57368b-0eda-4e52-64d8-af5c", "garden", "2f57368b-0eda-4e52-64d8-af5c", NULL, false },
	/* Singularity, Apptainer: apptainer/apptainer #336 */
	{ "/system.slice/singularity-4711.scope", "singularity", "4711", NULL, false },
	{ "/system.slice/singularity-oci-mycontainer.scope", "singularity", "mycontainer", NULL, false },
	{ USER "/user.slice/apptainer-4711.scope", "apptainer", "4711", NULL, false },
	{ "/apptainer/4711", "apptainer", "4711", NULL, false },
	/* crun: crun, src/libcrun/cgroup-systemd.c */
	{ "/system.slice/crun-box.scope", "crun", "box", NULL, false },
	{ USER "/user.slice/crun-my-box.scope/container", "crun", "my-box", NULL, false },
	/* runc: opencontainers/runc, docs/systemd.md */
	{ "/system.slice/runc-box.scope", "runc", "box", NULL, false },
	{ USER "/user.slice/runc-box.scope", "runc", "box", NULL, false },
	{ "/system.slice/youki-box.scope", "youki", "box", NULL, false },

	/* What a user chose, as it stands. */
	{ "/lxc.payload.a\nb\"c\\x2d\xff", "lxc", "a\nb\"c\\x2d\xff", NULL, false },
	{ "/system.slice/crun-\n.scope", "crun", "\n", NULL, false },
	{ "/lxc/...", "lxc", "...", NULL, false },
	{ "/lxc.payload.lxc.payload.x", "lxc", "lxc.payload.x", NULL, false },
	/* No NUL, nothing that is not an escape. */
	{ "/machine.slice/machine-\\x00\\x2.scope", "systemd-nspawn", "\\x00\\x2", NULL, false },
	{ "/machine.slice/machine-\\x2D\\x.scope", "systemd-nspawn", "\\x2D\\x", NULL, false },
};

struct unit {
	const char *path;
	const char *unit; /* NULL: none */
};

static const struct unit others[] = {
	/* systemd's own: systemd.unit(5), systemd.slice(5), user@.service(5) */
	{ "/init.scope", "init.scope" },
	{ "/system.slice/ssh.service", "ssh.service" },
	{ "/system.slice/docker.service", "docker.service" },
	{ "/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service" },
	{ "/user.slice/user-1000.slice/session-3.scope", "session-3.scope" },
	{ USER, "user@1000.service" },
	{ USER "/init.scope", "init.scope" },
	{ USER "/app.slice/app-org.gnome.Terminal.slice/vte-spawn-f22f14d2.scope", "vte-spawn-f22f14d2.scope" },
	{ "/system.slice/run-r0f4b5e.scope", "run-r0f4b5e.scope" },
	{ "/system.slice/systemd-udevd.service/udev", "systemd-udevd.service" },
	{ "/system.slice/a.service/b.scope/c.service/d", "c.service" },
	{ "/system.slice", NULL },
	{ "/", NULL },
	{ "/.service/.scope", NULL },
	/* Sandboxes of desktops are applications: systemd.io, "Desktop Environment Integration" */
	{ USER "/app.slice/app-flatpak-org.mozilla.firefox-12345.scope", "app-flatpak-org.mozilla.firefox-12345.scope" },
	{ USER "/app.slice/snap.firefox.firefox-b1.scope", "snap.firefox.firefox-b1.scope" },
	/* Runtimes' own processes */
	{ "/machine.slice/libpod-conmon-" A ".scope", "libpod-conmon-" A ".scope" },
	{ "/machine.slice/machine-libpod_pod_" B ".slice/libpod-conmon-" A ".scope", "libpod-conmon-" A ".scope" },
	{ "/libpod_parent/conmon", NULL },
	{ USER "/user.slice/podman-6696.scope", "podman-6696.scope" },
	{ USER "/user.slice/podman-pause-6e3ff43e.scope", "podman-pause-6e3ff43e.scope" },
	{ "/QM.slice/qm.service/runtime", "qm.service" },
	{ "/QM.slice/qm.service/supervisor", "qm.service" },
	{ "/system.slice/crio-conmon-" A ".scope", "crio-conmon-" A ".scope" },
	{ "/system.slice/crio-conmon-" A, NULL },
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice/crio-conmon-" A ".scope",
	  "crio-conmon-" A ".scope" },
	{ "/kubepods/burstable/pod" UID, NULL },
	{ "/kubepods/burstable/pod" UID "/crio-conmon-" A, NULL },
	{ "/kubepods/burstable", NULL },
	{ "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice", NULL },
	{ "/lxc.monitor.web", NULL },
	{ "/lxc.monitor/web", NULL },
	{ "/lxc.pivot/web", NULL },
	{ "/lxc", NULL },
	{ "/lxc.payload", NULL },
	{ "/lxc.payload.", NULL },
	{ "/machine.slice/machine-a.scope/supervisor", "machine-a.scope" },
	{ "/machine.slice/machine-a.scope/supervisor/x", "machine-a.scope" },
	{ "/machine.slice/systemd-nspawn@a.service/supervisor", "systemd-nspawn@a.service" },
	{ "/docker", NULL },
	{ "/docker/buildkit", NULL },
	{ "/system.slice/garden.service/garden", "garden.service" },
	{ "/garden/good", NULL },
	{ "/ecs/55091c13-b8cf-4801-b527-f4601742204d", NULL },
	/* Virtual machines: libvirt, docs/cgroups.rst */
	{ "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "machine-qemu\\x2d1\\x2dvm.scope" },
	{ "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", "machine-qemu\\x2d1\\x2dvm.scope" },
	{ "/machine.slice/machine-ch\\x2d1\\x2dvm.scope", "machine-ch\\x2d1\\x2dvm.scope" },
	{ "/machine/vm.libvirt-qemu", NULL },
	/* Proxmox's: qm(1) */
	{ "/qemu.slice/100.scope", "100.scope" },
};

/* None of these is a container. */
static const char *const near_misses[] = {
	/* 64 digits say nothing. */
	"/" A,
	"/system.slice/" A,
	"/system.slice/" A ".scope",
	"/actions_job/" A,
	"/user.slice/user-1000.slice/" A,
	"/x/default/" A,
	"/x/k8s.io/" A,
	"/pod" UID "/" A,
	"/burstable/pod" UID "/" A,
	"/kubepods/guaranteed/pod" UID "/" A,
	"/kubepods/burstable/" A,
	"/kubepods/" A,
	"/kubepods/burstable/pod" UID "/x/" A,
	"/kubepods/burstable/podx" UID "/" A,
	"/kubepods/burstable/pod3d274242/" A,
	"/kubepods/burstable/pod" UID_ "/" A,
	"/kubepods/burstable/pod" A "/" A,
	"/kubepods.slice/kubepods-burstable.slice/" A,
	"/xkubepods-pod" UID_ ".slice/" A,
	"/kubepods-pod" UID_ ".scope/" A,
	"/kubepods-slow-pod" UID_ ".slice/" A,
	"/kubepods-.slice/" A,
	"/ecs/" A,
	"/ecs/a/b/c/" A,
	"/docker/buildx/x/" A,
	/* One digit less, one more, a capital, a digit that is none. */
	"/system.slice/docker-3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f86986.scope",
	"/system.slice/docker-" A "0.scope",
	"/system.slice/docker-3726184226F5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860.scope",
	"/system.slice/docker-g726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f869860.scope",
	"/docker/3726184226f5d3147c25fdeab5b60097e378e8a720503a5e19ecfdf29f86986",
	"/docker/" A "0",
	"/docker/x/" A,
	"/dockers/" A,
	"/system.slice/xdocker-" A ".scope",
	"/system.slice/docker-" A ".scopes",
	"/system.slice/docker-" A ".service",
	"/system.slice/docker-" A,
	"/system.slice/docker-.scope",
	"/system.slice/docker-" A " .scope",
	"/system.slice/cri-containerd-" A,
	"/machine.slice/libpod-" A ".service",
	"/machine.slice/libpod-payload-" A ".scope",
	"/system.slice/libpod-abc.scope",
	"/system.slice/system.slice:docker:",
	"/system.slice/system.slice:docker:" A ":",
	"/system.slice/system.slice::" A,
	"/system.slice/x:docker:" A,
	"/system.slice/.slice:docker:" A,
	"/buildkit/Osh60k53lspy0g0cjo94ur00h",
	"/buildkit/sh60k53lspy0g0cjo94ur00h",
	"/garden/foo",
	"/garden/70eb4ce5-a065-4401-6990-88e",
	"/garden/70eb4ce5xa065-4401-6990-88ed",
	"/garden/70eb4ce5-a065-4401-6990-88ed-2c2af4f5bfc0",
	"/garden/ugly/70eb4ce5-a065-4401-6990-88ed",
	"/ecs/a/5a0d5ceddf6c44c1928d367a815d890f-",
	"/ecs/a/5a0d5ceddf6c44c1928d367a815d890f-x",
	"/ecs/a/5a0d5ceddf6c44c1928d367a815d890f-12345678901",
	"/system.slice/apptainer-x.scope",
	"/system.slice/apptainer-.scope",
	"/x/apptainer/4711",
	"/system.slice/crun-.scope",
	"/system.slice/crun-box.service",
	"/system.slice/crun-box",
	"/machine-a.scope",
	"/machine/machine-a.scope",
	"/machine.slice/machine-.scope",
	"/machine.slice/machine-a.slice",
	"/system.slice/container@web.service/payload",
	"/x/web.libvirt-lxc",
	"/lxc/.",
	"/lxc/..",
	"/default/foo",
	/* No path as the kernel writes one. */
	"",
	"docker/" A,
	"docker-" A ".scope",
	"/docker/" A "/",
	"//docker/" A,
	"/docker//" A,
	"/docker/" A "//x",
	"//",
	"/docker/\n" A,
	"/docker\n/" A,
	"/docker/" A "\n",
	"\n/docker/" A,
	"0::/docker/" A,
	" /docker/" A,
};
/* clang-format on */

/* In memory of its own size, so that the sanitizer guards both ends. */
static bool match_copy(const char *path, size_t len, struct container_match *match, char **copy)
{
	*copy = malloc(len ? len : 1);
	assert_non_null(*copy);
	memcpy(*copy, path, len);
	memset(match, 0xff, sizeof(*match));
	return container_match(*copy, len, match);
}

static void check_unit(const struct container_match *match, const char *unit)
{
	assert_int_equal(match->unit_len, unit ? strlen(unit) : 0);
	if (unit)
		assert_memory_equal(match->unit, unit, match->unit_len);
	else
		assert_null(match->unit);
}

static void check_none(const struct container_match *match)
{
	assert_null(match->runtime);
	assert_null(match->id);
	assert_int_equal(match->id_len, 0);
	assert_null(match->pod_uid);
	assert_int_equal(match->pod_uid_len, 0);
	assert_false(match->nested);
}

static void check_sample(const struct sample *sample)
{
	char id[CONTAINER_ID_MAX + 1], uid[CONTAINER_POD_UID_MAX + 1], *copy;
	struct container_match match;

	if (!match_copy(sample->path, strlen(sample->path), &match, &copy))
		fail_msg("no container: %s", sample->path);
	if (sample->runtime)
		assert_string_equal(match.runtime, sample->runtime);
	else
		assert_null(match.runtime);
	assert_true(match.id > copy && match.id + match.id_len <= copy + strlen(sample->path));
	assert_int_equal(container_id(&match, id), strlen(sample->id));
	assert_string_equal(id, sample->id);
	assert_int_equal(container_pod_uid(&match, uid), sample->pod ? strlen(sample->pod) : 0);
	assert_string_equal(uid, sample->pod ? sample->pod : "");
	if (match.nested != sample->nested)
		fail_msg("nested: %s", sample->path);
	check_unit(&match, NULL);
	free(copy);
}

static void test_containers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(containers) / sizeof(*containers); i++)
		check_sample(&containers[i]);
}

static void test_others(void **state)
{
	struct container_match match;
	char *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (match_copy(others[i].path, strlen(others[i].path), &match, &copy))
			fail_msg("a container: %s", others[i].path);
		check_none(&match);
		check_unit(&match, others[i].unit);
		free(copy);
	}
}

static void test_near_misses(void **state)
{
	struct container_match match;
	char *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(near_misses) / sizeof(*near_misses); i++) {
		if (match_copy(near_misses[i], strlen(near_misses[i]), &match, &copy))
			fail_msg("a container: %s", near_misses[i]);
		check_none(&match);
		free(copy);
	}
}

/* What a cut path still shows is a container, or nothing: never more than it has. */
static void test_cut(void **state)
{
	struct container_match match;
	char *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(containers) / sizeof(*containers); i++) {
		for (size_t len = 0; len < strlen(containers[i].path); len++) {
			if (match_copy(containers[i].path, len, &match, &copy))
				assert_true(match.id + match.id_len <= copy + len);
			free(copy);
		}
	}
}

static void test_nul(void **state)
{
	static const char path[] = "/lxc.payload.a\0b";
	static const char later[] = "/lxc.payload.a/\0";
	struct container_match match;
	char *copy;

	(void)state;
	assert_false(match_copy(path, sizeof(path) - 1, &match, &copy));
	free(copy);
	assert_false(match_copy(later, sizeof(later) - 1, &match, &copy));
	free(copy);
}

static void test_long_ids(void **state)
{
	char path[512], id[CONTAINER_ID_MAX + 1];
	struct container_match match;
	size_t before = strlen("/lxc/");

	(void)state;
	memset(path, 'x', sizeof(path));
	memcpy(path, "/lxc/", before);
	assert_true(container_match(path, before + CONTAINER_ID_MAX, &match));
	assert_int_equal(match.id_len, CONTAINER_ID_MAX);
	assert_int_equal(container_id(&match, id), CONTAINER_ID_MAX);
	assert_int_equal(strlen(id), CONTAINER_ID_MAX);
	assert_false(container_match(path, before + CONTAINER_ID_MAX + 1, &match));
	assert_false(container_match(path, before + 255, &match));
}

/* Deeper and longer than any path of the kernel's. */
static void test_long_paths(void **state)
{
	const size_t room = 1 << 20;
	char *path = malloc(room);
	struct container_match match;
	size_t len = 0;

	(void)state;
	assert_non_null(path);
	for (; len + 2 < room; len += 2)
		memcpy(path + len, "/x", 2);
	assert_false(container_match(path, len, &match));
	memcpy(path, "/lxc/a", 6);
	assert_true(container_match(path, len, &match));
	assert_ptr_equal(match.id, path + 5);
	memset(path + 1, 'x', room - 1);
	assert_false(container_match(path, room, &match));
	for (len = 0; len + 14 < room; len += 14)
		memcpy(path + len, "/lxc.payload.a", 14);
	assert_true(container_match(path, len, &match));
	assert_ptr_equal(match.id, path + len - 1);
	assert_true(match.nested);
	free(path);
}

static void test_hex_id(void **state)
{
	(void)state;
	assert_true(container_is_hex_id(A, 64));
	assert_false(container_is_hex_id(A, 63));
	assert_false(container_is_hex_id(A "0", 65));
	assert_false(container_is_hex_id("", 0));
}

static void unit_is(const char *path, const char *expected)
{
	size_t len = strlen(path);
	char *copy = malloc(len + 1); /* of its own size, and without a NUL */
	const char *unit = "x";
	size_t unit_len;

	assert_non_null(copy);
	memcpy(copy, path, len);
	unit_len = container_unit(copy, len, &unit);
	assert_int_equal(unit_len, expected ? strlen(expected) : 0);
	if (expected)
		assert_memory_equal(unit, expected, unit_len);
	else
		assert_null(unit);
	free(copy);
}

static void test_unit(void **state)
{
	(void)state;
	unit_is("/system.slice/cron.service", "cron.service");
	unit_is("/system.slice/cron.service/child", "cron.service");
	unit_is("/a.service/b.slice/c.scope/d/e", "c.scope");
	unit_is("/machine.slice/machine-a.scope/libvirt/emulator", "machine-a.scope");
	unit_is("a.service", "a.service");
	unit_is("/a.slice/b", NULL);
	unit_is("/.service/.scope", NULL);
	unit_is("/a.services/b.scope.x", NULL);
	unit_is("/", NULL);
	unit_is("", NULL);
}

#define TEST(function) cmocka_unit_test(function)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_containers), TEST(test_others), TEST(test_near_misses),
		TEST(test_cut),	       TEST(test_nul),	  TEST(test_long_ids),
		TEST(test_long_paths), TEST(test_hex_id),  TEST(test_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
