#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# dist/deps where something is missing, with a package manager that stands for Debian's: what
# really is installed depends on the machine, and a tester's has everything already.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# Installing bpftool makes the missing command; everything asked of it is written down.
cat >"$work/apt-get" <<END
#!/bin/sh
echo "\$*" >>"$work/asked"
case " \$* " in
*" install "*" bpftool "*) ln -sf /bin/true "$work/missing-bpftool" ;;
esac
END
cat >"$work/apt-cache" <<'END'
#!/bin/sh
case $1 in
policy) echo "  Candidate: 1" ;;
esac
END
printf '#!/bin/sh\nexit 1\n' >"$work/systemctl"
printf '#!/bin/sh\necho 0\n' >"$work/id"
chmod +x "$work"/*

deps() { # verb set
	PATH="$work:$PATH" BPFTOOL=missing-bpftool sh "$top/dist/deps" "$@" >"$work/out" 2>&1
}

check() { # what, status
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $1"
		cat "$work/out" "$work/asked" 2>/dev/null
	fi
}

deps check build
[ $? = 1 ] && grep -q 'apt-get install .*bpftool' "$work/out"
check "what is missing, and what brings it, is named" $?

[ ! -e "$work/asked" ]
check "looking installs nothing" $?

deps install build
check "what is missing is installed" $?

grep -q 'install .* bpftool' "$work/asked" && [ -e "$work/missing-bpftool" ]
check "by the package that brings it" $?

! grep -q download-only "$work/asked"
check "with nothing to unpack, nothing is unpacked" $?

rm -f "$work/asked"
deps install build && [ ! -e "$work/asked" ]
check "where nothing is missing, nothing is asked for" $?

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
