#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# vmlinux/check: passes here, and fails when vmlinux.h and the kernel differ.
# The programs are built from copies of the sources in which one thing is wrong.
set -u

cd "$(dirname "$0")/../.." || exit 1
clang=${CLANG:-clang}
python=${PYTHON:-/usr/bin/python3}
btf=/sys/kernel/btf/vmlinux
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0

if [ ! -r $btf ]; then
	echo "skipped: there is no $btf here"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
case $(uname -m) in
x86_64) arch=x86 ;;
*) arch=arm64 ;;
esac

# Builds the copies into $tmp/object after sed commands on the header and on the sources.
build() { # sed for vmlinux.h, sed for src/
	rm -rf "$tmp/src" "$tmp/vmlinux"
	mkdir "$tmp/src" "$tmp/vmlinux"
	sed "$1" vmlinux/vmlinux.h >"$tmp/vmlinux/vmlinux.h"
	cp src/*.bpf.h src/nsmon.h src/nsmon.bpf.c "$tmp/src"
	sed -i "$2" "$tmp"/src/*.bpf.[ch]
	"$clang" -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_$arch -I"$tmp/vmlinux" -I"$tmp/src" \
		-c -o "$tmp/object" "$tmp/src/nsmon.bpf.c"
}

# Runs the check; the output must hold every pattern that is given.
expect() { # name, exit status, options, pattern...
	name=$1 status=$2 options=$3
	shift 3
	# shellcheck disable=SC2086
	"$python" vmlinux/check $options "$tmp/object" >"$tmp/out" 2>"$tmp/err"
	got=$?
	ok=1
	[ $got = "$status" ] || ok=0
	# Whatever it finds is told on standard error; a check that ran ends in one line.
	[ "$(wc -l <"$tmp/out")" -le 1 ] || ok=0
	grep -q Traceback "$tmp/err" && ok=0
	for pattern; do
		cat "$tmp/out" "$tmp/err" | grep -q -e "$pattern" || ok=0
	done
	if [ $ok = 1 ]; then
		passed=$((passed + 1))
		echo "ok      $name"
	else
		failed=$((failed + 1))
		echo "FAILED  $name: exit status $got, expected $status and: $*"
		cat "$tmp/out" "$tmp/err"
	fi
}
header="--header $tmp/vmlinux/vmlinux.h"

build '' '' || exit 1
expect 'the header of this tree' 0 '' '^check-vmlinux: [0-9]* members of [0-9]* types .*: 0 errors'
expect 'a copy of it' 0 "$header" ': 0 errors'
expect 'no such BTF' 1 '--btf /nonexistent' '/nonexistent: No such file'
expect 'BTF that is none' 1 '--btf /dev/null' '/dev/null: no BTF'
# The object's own types as the kernel's: of a flavour there is only the flavour, as on an old kernel.
expect 'BTF in an ELF file' 0 "--btf $tmp/object" 'flavour ns_common___id' ': 0 errors'

build 's/real_cred;/real_creed;/' 's/real_cred\>/real_creed/g' || exit 1
expect 'a member with another name' 1 "$header" \
	"error: task_struct has no member real_creed in $btf"

build 's/io_cgrp_id/io_cgrp_idd/' \
	's/u64 ns_id;/u64 ns_idd;/; s/with_id->ns_id/with_id->ns_idd/; s/(with_id, ns_id)/(with_id, ns_idd)/
	s/io_cgrp_id/io_cgrp_idd/' || exit 1
expect 'a flavour that this kernel lacks' 0 "$header" \
	'note: ns_common has no member ns_idd: not on this kernel (flavour ns_common___id)' ': 0 errors'
expect 'a relocated value that this kernel lacks' 0 "$header" \
	'note: there is no io_cgrp_idd: not on this kernel' ': 0 errors'

build '' 's/unsigned int in_execve : 1;/unsigned int in_execve;/' || exit 1
expect 'a bit field that is taken for a number' 0 "$header" \
	'note: task_struct.in_execve is a bit field: not on this kernel'

# The rest at once, since a build takes a while.
build 's/\<dfl_cgrp\>/dfl_croup/
	s/struct linux_binprm\>/struct linux_binprmm/
	s/u64 start_boottime;/u32 start_boottime;/
	s/^\tint tgid;/&\n\tint prio;/
	s/^struct kernfs_node {/struct dentry {\n\tint d_flags;\n};\n\n&/
	s/^\tPIDTYPE_PID,/&\n\tPIDTYPE_NEW,/' \
	's/\<dfl_cgrp\>/dfl_croup/g
	s/struct linux_binprm\>/struct linux_binprmm/g' || exit 1
expect 'a member in the middle of a path' 1 "$header" 'error: css_set has no member dfl_croup in '
expect 'a type with another name' 1 "$header" "error: there is no type linux_binprmm in $btf"
expect 'a member with another size' 1 "$header" \
	'error: task_struct.start_boottime is 8 bytes, and read as 4'
expect 'a member that nobody reads' 1 "$header" 'error: task_struct.prio in .* is not used'
expect 'a struct that nobody reads' 1 "$header" 'error: dentry in .* is not used'
expect 'an enum with another value' 1 "$header" 'error: PIDTYPE_TGID is 1 in .*, not 2'
expect 'nothing else' 1 "$header" ' types against .*: 9 errors'

echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
