# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Completions, log shippers' configurations, and what nsmon is handed on as, which comes out in build/. Included by the
# Makefile.
#
#   make static   build/static/nsmon: one file, for machines without its libraries
#   make dist     build/nsmon-VERSION.tar.xz: the sources of the last commit
#   make deb      build/nsmon_VERSION_ARCH.deb
#   make spec     build/nsmon.spec, for rpmbuild with the archive of `make dist`

.PHONY: install-data uninstall-data clean-packages static dist deb spec
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
SOURCE_NAME := nsmon-$(VERSION)

install: install-data
install-data:
	install -D -m 0644 dist/completions/nsmon.bash $(DESTDIR)$(BASHDIR)/nsmon
	install -D -m 0644 dist/completions/_nsmon $(DESTDIR)$(ZSHDIR)/_nsmon
	install -D -m 0644 dist/completions/nsmon.fish $(DESTDIR)$(FISHDIR)/nsmon.fish
	install -D -m 0644 -t $(DESTDIR)$(DATADIR)/shippers dist/shippers/*
	install -D -m 0644 -t $(DESTDIR)$(DATADIR)/kubernetes dist/kubernetes/*

uninstall: uninstall-data
uninstall-data:
	rm -f $(DESTDIR)$(BASHDIR)/nsmon $(DESTDIR)$(ZSHDIR)/_nsmon $(DESTDIR)$(FISHDIR)/nsmon.fish \
		$(patsubst dist/%,$(DESTDIR)$(DATADIR)/%,$(wildcard dist/shippers/* dist/kubernetes/*))
	-rmdir $(DESTDIR)$(DATADIR)/shippers $(DESTDIR)$(DATADIR)/kubernetes

# Without libsystemd, of which there is no static one.
static:
	$(Q)$(MAKE) --no-print-directory OUTPUT=build/static SYSTEMD= LDFLAGS='-static $(LDFLAGS)' \
		LIBS='$(filter-out $(SYSTEMD_LIBS),$(LIBS)) $(ZSTD)' all

# The same commit gives the same file.
dist:
	@[ -e .git ] || { echo 'make dist: this is no git checkout, but sources are archived from one' >&2; exit 1; }
	@changed=$$(git status --porcelain) && [ -z "$$changed" ] || { printf '%s\n' \
		'make dist: archived is what is committed, and this is not: commit, stash or remove it' "$$changed" >&2; exit 1; }
	@mkdir -p build
	$(call say,DIST,build/$(SOURCE_NAME).tar.xz)git -c tar.umask=0022 archive --prefix=$(SOURCE_NAME)/ \
		-o build/$(SOURCE_NAME).tar HEAD && xz -9 -T1 -f build/$(SOURCE_NAME).tar

# From a copy of the sources as they are here, which gets a changelog: its version is that of src/version.h.
deb:
	$(Q)rm -rf build/deb && mkdir -p build/deb/$(SOURCE_NAME)
	$(Q)tar -c --exclude=./build --exclude=./nsmon --exclude=./.git --exclude=__pycache__ . | tar -x -C build/deb/$(SOURCE_NAME)
	$(Q)sh dist/debian-changelog $(VERSION) > build/deb/$(SOURCE_NAME)/debian/changelog
	$(call say,DEB,build/deb)cd build/deb/$(SOURCE_NAME) && env -u MAKEFLAGS -u MAKELEVEL dpkg-buildpackage -b -us -uc
	$(Q)mv build/deb/*.deb build/deb/*.changes build/deb/*.buildinfo build/
	$(Q)rm -rf build/deb

spec: build/nsmon.spec

build/nsmon.spec: dist/nsmon.spec.in src/version.h
	@mkdir -p build
	$(call say,SPEC,$@)sed 's/@VERSION@/$(VERSION)/' $< > $@

clean: clean-packages
clean-packages:
	rm -rf build/deb build/nsmon.spec build/nsmon-*.tar* build/nsmon_* build/nsmon-dbgsym_*
