# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
#   make            build ./nsmon
#   sudo make run   install what is missing, build, trace everything
#   sudo make test  install what is missing, build, run every test
#   make ARCH=arm64 on x86-64: build a static build/arm64/nsmon, with the tests' workloads
#   make help       the other targets and the variables

CC = $(if $(CROSS),$(CROSS_CC),cc)
CLANG = clang
BPFTOOL = $(shell PATH="$$PATH:/usr/sbin:/sbin" command -v bpftool || echo bpftool)
PYTHON = /usr/bin/python3
PKG_CONFIG = pkg-config
OUTPUT = build$(if $(CROSS),/$(ARCH))
PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share/nsmon
UNITDIR = $(PREFIX)/lib/systemd/system
SYSCONFDIR = /etc

# SAN=1: AddressSanitizer and UndefinedBehaviorSanitizer, in a folder of their own.
SAN =
# DEBUG=1: no optimisation. V=1: show the commands.
DEBUG =
V =

MACHINE := $(shell uname -m | sed 's/amd64/x86_64/; s/aarch64/arm64/')
ARCH := $(MACHINE)
BPF_ARCH := $(patsubst x86_64,x86,$(ARCH))
ifeq ($(filter x86 arm64,$(BPF_ARCH)),)
$(error nsmon runs on x86_64 and arm64, not on $(ARCH))
endif

# Another architecture than this machine's has a folder and a compiler of its own. Its programs are static: they need
# nothing of the machine that they are copied to.
CROSS := $(filter-out $(MACHINE),$(ARCH))
ifneq ($(filter-out arm64,$(CROSS)),)
$(error nsmon is built for $(ARCH) only on $(ARCH))
endif
CROSS_CC = $(CLANG) --target=aarch64-linux-gnu
CROSS_LDFLAGS := $(if $(CROSS),-static -fuse-ld=lld)

B := $(OUTPUT)$(if $(SAN),/san)
NSMON := $(if $(SAN)$(filter-out build,$(OUTPUT)),$(B)/nsmon,nsmon)
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)';)

comma := ,
CFLAGS ?= $(if $(DEBUG),-O0,-O2) -g
WERROR = -Werror
WARNINGS := -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wshadow $(WERROR)
SANITIZE := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
# SYSTEMD=: without libsystemd, where it is there; nsmon then has no --journal.
SYSTEMD := $(if $(CROSS),,$(shell $(PKG_CONFIG) --exists libsystemd 2>/dev/null && echo libsystemd))
SYSTEMD_CFLAGS := $(if $(SYSTEMD),-DHAVE_SYSTEMD $(shell $(PKG_CONFIG) --cflags $(SYSTEMD)))
SYSTEMD_LIBS := $(if $(SYSTEMD),$(shell $(PKG_CONFIG) --libs $(SYSTEMD)))
CPPFLAGS += -D_GNU_SOURCE -Isrc -I$(B) $(SYSTEMD_CFLAGS)
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(CFLAGS) $(SANITIZE)
# A static libelf may need zstd (elfutils from 0.189 on, as it was built).
ZSTD = $(if $(findstring /,$(shell $(CC) -print-file-name=libzstd.a)),-lzstd)
LIBS = -lbpf -lelf -lz $(if $(CROSS),$(ZSTD)) -lcap-ng -ljson-c $(SYSTEMD_LIBS)
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_$(BPF_ARCH) -Ivmlinux -Isrc \
	-Wall -Wextra -Wno-unused-parameter $(WERROR)

# Everything but what needs a kernel and root is unit-tested.
PURE := event rows state line log names options output persistent procfs stream text json ecs metrics journal kernel command hierarchy cgroup \
	container runtime runstate beneath privileges ring excerpt service
KERNEL_SIDE := preflight trial heap view probe snapshot picture list tree containers check nsmon
OBJECTS := $(patsubst %,$(B)/%.o,$(PURE) $(KERNEL_SIDE) schema)
PURE_OBJECTS := $(patsubst %,$(B)/%.o,$(PURE) schema)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
MAN := $(OUTPUT)/nsmon.8
VERSION := $(shell sed -n 's/^\#define NSMON_VERSION "\(.*\)"/\1/p' src/version.h)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all help run test test-quick test-unit test-golden test-e2e test-service test-vm test-package lint \
	check-vmlinux deps deps-test install uninstall clean man

all: $(NSMON) $(if $(CROSS),drivers)

help:
	@sed -n 's/^#   //p' Makefile
	@echo 'targets:   all run test test-quick test-unit test-golden test-e2e test-service test-vm test-package lint'
	@echo '           check-vmlinux deps deps-test install uninstall clean man'
	@echo '           static dist deb spec bench'
	@echo 'variables: V=1 DEBUG=1 SAN=1 ARCH=arm64 OUTPUT=build PREFIX=/usr/local DESTDIR= CC= CLANG='
	@echo '           KERNEL=name IMAGE=file BACKEND=name WHOLE=1 (test, test-vm) NSMON_ARGS= (run) BENCH_QUICK=1 (bench)'

# ---- the program

$(NSMON): $(OBJECTS)
	$(call say,LINK,$@)$(CC) $(ALL_CFLAGS) $(CROSS_LDFLAGS) $(LDFLAGS) -o $@ $(OBJECTS) $(LIBS)

# Other flags than last time (DEBUG=1, CC=clang, ...) build everything again.
FLAGS := $(CC) $(ALL_CFLAGS) $(CPPFLAGS) $(CROSS_LDFLAGS) $(LDFLAGS) $(LIBS) $(CLANG) $(BPF_CFLAGS)
$(B)/flags: FORCE | $(B)/tools
	@printf '%s\n' '$(FLAGS)' | cmp -s - $@ || printf '%s\n' '$(FLAGS)' > $@
.PHONY: FORCE
FORCE:

$(B)/%.o: src/%.c Makefile $(B)/flags | $(B)/tools
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/schema.o: src/schema.S dist/nsmon.schema.json dist/nsmon.ecs.schema.json Makefile | $(B)/tools
	$(call say,AS,$@)$(CC) -DSCHEMA_FILE='"dist/nsmon.schema.json"' \
		-DECS_SCHEMA_FILE='"dist/nsmon.ecs.schema.json"' -c -o $@ $<

$(B)/probe.o: $(B)/nsmon.skel.h

$(B)/%.skel.h: $(B)/%.bpf.o
	$(call say,SKEL,$@){ echo '/* NOLINTBEGIN: generated */' && \
		$(BPFTOOL) gen skeleton $< name $*_bpf && echo '/* NOLINTEND */'; } > $@

# bpftool leaves the debugging information behind and keeps the BTF.
$(B)/nsmon.bpf.o: $(B)/nsmon.debug.bpf.o
	$(call say,LINK,$@)$(BPFTOOL) gen object $@ $<

$(B)/nsmon.debug.bpf.o: src/nsmon.bpf.c Makefile $(B)/flags | $(B)/tools
	$(call say,BPF,$@)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(B)/nsmon.bpf.d -c -o $@ $<

-include $(wildcard $(B)/*.d $(B)/unit/*.d)

# Names what is missing, and what brings it, before the first compiler is run.
$(B)/tools: Makefile dist/deps
	$(Q)mkdir -p $(B)/unit
	$(Q)CC='$(CC)' CLANG='$(CLANG)' BPFTOOL='$(BPFTOOL)' sh dist/deps check $(or $(CROSS),build)
	@touch $@

# ---- front doors

run: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)./nsmon $(NSMON_ARGS)

deps:
	$(Q)CC='$(if $(CROSS),cc,$(CC))' CLANG='$(CLANG)' sh dist/deps install build
	$(if $(CROSS),$(Q)CC='$(CC)' CLANG='$(CLANG)' sh dist/deps install $(CROSS))

# A machine that cannot cross-build still runs the other tests.
deps-test: deps
	$(Q)CC='$(CC)' CLANG='$(CLANG)' sh dist/deps install test
ifeq ($(ARCH),x86_64)
	$(Q)CC='$(CROSS_CC)' CLANG='$(CLANG)' sh dist/deps install arm64 || \
		echo 'nsmon: no cross-build here, so no tests on arm64' >&2
endif

# Which virtual machines: KERNEL=name of tests/vm/kernels, or all; IMAGE=file MODULES=directory; BACKEND=name.
VM_ENV = WHOLE='$(WHOLE)' KERNEL='$(KERNEL)' IMAGE='$(IMAGE)' MODULES='$(MODULES)' BACKEND='$(BACKEND)'

test: deps-test
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(VM_ENV) $(PYTHON) tests/run all

test-quick:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(PYTHON) tests/run quick

test-unit:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(PYTHON) tests/run unit

test-golden:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(PYTHON) tests/run golden

test-e2e:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(PYTHON) tests/run e2e

test-service:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(PYTHON) tests/run service

test-vm:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(VM_ENV) $(PYTHON) tests/run vm

test-package:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(PYTHON) tests/run package

lint:
	$(Q)MAKE='$(MAKE)' PYTHON='$(PYTHON)' $(PYTHON) tests/run lint

# ---- tests: what they are made of

.PHONY: unit-tests drivers golden-tool
unit-tests: $(UNIT_TESTS)

$(B)/unit/%: tests/unit/%.c $(PURE_OBJECTS) Makefile
	$(call say,CC,$@)$(CC) $(CPPFLAGS) -Itests/unit $(ALL_CFLAGS) -MMD -MP -MF $@.d -o $@ $< \
		$(PURE_OBJECTS) -lcmocka $(LIBS)

golden-tool: $(B)/golden

$(B)/golden: tests/golden/golden.c $(PURE_OBJECTS) Makefile
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(PURE_OBJECTS) $(LIBS)

WORKLOADS := driver walk storm inside
drivers: $(WORKLOADS:%=$(OUTPUT)/%) $(WORKLOADS:%=$(OUTPUT)/%32) $(if $(CROSS),,$(OUTPUT)/refuse.so)

# Static: a program without a dynamic linker starts much faster in an emulated machine.
DRIVER_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -pthread -static

$(WORKLOADS:%=$(OUTPUT)/%): $(OUTPUT)/%: tests/e2e/%.c Makefile | $(B)/tools
	$(call say,CC,$@)$(CC) $(DRIVER_CFLAGS) $(CROSS_LDFLAGS) -o $@ $<

$(OUTPUT)/refuse.so: tests/e2e/refuse.c Makefile | $(B)/tools
	$(call say,CC,$@)$(CC) $(filter-out -static,$(DRIVER_CFLAGS)) -fPIC -shared -o $@ $< -ldl

# The same for 32-bit callers. Without a 32-bit C library their tests say that they are skipped. The one for Arm comes
# with `tests/vm/fetch sysroot-armhf`.
ARMHF = $(wildcard $(or $(VM_CACHE),build/vm/cache)/sysroot-armhf/root)
ARM32_CC = $(CLANG) --target=arm-linux-gnueabihf $(ARMHF:%=--sysroot=%) -fuse-ld=lld
CC32 = $(if $(filter x86,$(BPF_ARCH)),gcc -m32,$(ARM32_CC))
$(WORKLOADS:%=$(OUTPUT)/%32): $(OUTPUT)/%32: tests/e2e/%.c Makefile | $(B)/tools
	$(call say,CC,$@)if ! echo 'int main(void){return 0;}' | \
		$(CC32) -static -x c -o /dev/null - 2>/dev/null; then \
		echo '  note: no 32-bit C library here, so no $@'; \
	else $(CC32) $(DRIVER_CFLAGS) -o $@ $<; fi

# ---- the benchmark

.PHONY: bench bench-tools record-tool
BENCH_TOOLS := $(OUTPUT)/bench/workload $(OUTPUT)/bench/poller $(OUTPUT)/bench/tiny
bench-tools: $(BENCH_TOOLS) $(OUTPUT)/bench/ways $(OUTPUT)/bench/floor
record-tool: $(B)/records

$(OUTPUT)/bench/tiny: DRIVER_CFLAGS += -nostdlib -fno-stack-protector
$(BENCH_TOOLS): $(OUTPUT)/bench/%: bench/%.c Makefile | $(B)/tools
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) -D_GNU_SOURCE $(DRIVER_CFLAGS) $(CROSS_LDFLAGS) -o $@ $<

$(OUTPUT)/bench/ways: bench/ways.c Makefile | $(B)/tools
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) -D_GNU_SOURCE $(ALL_CFLAGS) -o $@ $< $(LIBS)

$(B)/floor.bpf.o: bench/floor.bpf.c src/nsmon.h Makefile $(B)/flags | $(B)/tools
	$(call say,BPF,$@)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(OUTPUT)/bench/floor: bench/floor.c $(B)/floor.skel.h Makefile | $(B)/tools
	$(call say,CC,$@)mkdir -p $(@D) && $(CC) -D_GNU_SOURCE -I$(B) $(ALL_CFLAGS) -o $@ $< $(LIBS)

$(B)/records: bench/records.c $(PURE_OBJECTS) Makefile
	$(call say,CC,$@)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(PURE_OBJECTS) $(LIBS)

# BENCH_QUICK=1: two minutes, to see that all runs. BENCH_ARGS=: see bench/run --help.
bench: deps
	$(Q)CC='$(CC)' CLANG='$(CLANG)' sh dist/deps install bench || echo 'nsmon: some peers cannot be compared' >&2
	$(Q)$(MAKE) --no-print-directory all bench-tools
	$(Q)BPFTOOL='$(BPFTOOL)' $(PYTHON) bench/run $(if $(BENCH_QUICK),--quick) $(BENCH_ARGS)

check-vmlinux: $(B)/nsmon.bpf.o
	$(Q)$(PYTHON) vmlinux/check $(if $(BTF),--btf $(BTF)) $(B)/nsmon.bpf.o

# ---- installation, and what else is installed or handed on

include dist/package.mk

man: $(MAN)

$(MAN): dist/nsmon.8.scd src/version.h | $(B)/tools
	$(call say,MAN,$@)sed '1s/@VERSION@/$(VERSION)/' $< | scdoc > $@

install: $(NSMON) $(MAN)
	install -D -m 0755 $(NSMON) $(DESTDIR)$(SBINDIR)/nsmon
	install -D -m 0644 $(MAN) $(DESTDIR)$(MANDIR)/man8/nsmon.8
	install -D -m 0644 dist/nsmon.schema.json $(DESTDIR)$(DATADIR)/nsmon.schema.json
	install -D -m 0644 dist/nsmon.ecs.schema.json $(DESTDIR)$(DATADIR)/nsmon.ecs.schema.json
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/sbin/|$(SBINDIR)/|; s|/etc/default/|$(SYSCONFDIR)/default/|' dist/nsmon.service \
		> $(DESTDIR)$(UNITDIR)/nsmon.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/nsmon.service
	$(call install_config,dist/nsmon.default,default/nsmon)
	$(call install_config,dist/nsmon.logrotate,logrotate.d/nsmon)

# What an administrator may have changed is left as it is.
install_config = [ -e $(DESTDIR)$(SYSCONFDIR)/$(2) ] || install -D -m 0644 $(1) $(DESTDIR)$(SYSCONFDIR)/$(2)
uninstall_config = ! cmp -s $(1) $(DESTDIR)$(SYSCONFDIR)/$(2) || rm -f $(DESTDIR)$(SYSCONFDIR)/$(2)

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/nsmon $(DESTDIR)$(MANDIR)/man8/nsmon.8 $(DESTDIR)$(UNITDIR)/nsmon.service \
		$(DESTDIR)$(DATADIR)/nsmon.schema.json $(DESTDIR)$(DATADIR)/nsmon.ecs.schema.json
	$(call uninstall_config,dist/nsmon.default,default/nsmon)
	$(call uninstall_config,dist/nsmon.logrotate,logrotate.d/nsmon)
	-rmdir $(DESTDIR)$(DATADIR)

clean:
	rm -rf $(filter-out / . ..,$(OUTPUT))/*.o $(OUTPUT)/*.d $(OUTPUT)/*.h $(OUTPUT)/unit \
		$(OUTPUT)/san $(OUTPUT)/fuzz $(OUTPUT)/tools $(OUTPUT)/flags $(OUTPUT)/golden $(OUTPUT)/golden.d $(OUTPUT)/records \
		$(OUTPUT)/records.d $(OUTPUT)/bench $(WORKLOADS:%=$(OUTPUT)/%) \
		$(WORKLOADS:%=$(OUTPUT)/%32) $(OUTPUT)/nsmon.8 $(OUTPUT)/arm64 $(OUTPUT)/static $(OUTPUT)/clang-* $(NSMON)
