# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# bash completion for nsmon(8). Needs no other file; with the package bash-completion it completes COMMAND's own
# arguments as well.

_nsmon() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= glued= i
	COMPREPLY=()

	# "=" breaks words: --output=json comes as three of them.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--)
			_nsmon_command $((i + 1))
			return
			;;
		list | check) command=${COMP_WORDS[i]} ;;
		esac
	done

	# A value may follow its letter at once, and letters without one go before: -ojson, -Toj.
	if [[ $cur =~ ^(-[TstqvV]*)([oenrpw])(.+)$ ]]; then
		glued=${BASH_REMATCH[1]}${BASH_REMATCH[2]} prev=-${BASH_REMATCH[2]} cur=${BASH_REMATCH[3]}
	fi

	case $prev in
	-o | --output)
		_nsmon_words text json
		[[ $command ]] || _nsmon_words ecs
		;;
	-e | --events) _nsmon_list fork exec exit ns cgroup ;;
	-n | --types) _nsmon_list mnt uts ipc net pid pid_for_children user cgroup time time_for_children ;;
	-r | --reasons) _nsmon_list clone unshare setns exec fork kernel ;;
	-p | --pid) _nsmon_pids ;;
	--cgroup) _nsmon_cgroups ;;
	--container) ;;
	--user) COMPREPLY=($(compgen -u -- "$cur")) ;;
	--buffer) _nsmon_words 1M 2M 4M 8M 16M 32M 64M ;;
	--backend) _nsmon_words auto fentry kprobe tracepoint ;;
	-w | --write | --metrics | --btf) _nsmon_files ;;
	*)
		case $command in
		list) _nsmon_words -o --output= -n --types= --tree --containers --btf= -q --quiet -v --verbose ;;
		check) _nsmon_words -o --output= --btf= -q --quiet -v --verbose ;;
		*)
			_nsmon_words list check -o --output= -e --events= -n --types= -r --reasons= -p --pid= --cgroup= \
				--container= -T --threads -s --snapshot --no-snapshot -t --timestamps --failed -w --write= --journal --metrics= --user= \
				--tree --containers --schema --buffer= --backend= --btf= -q --quiet -v --verbose '-?' --help \
				--usage -V --version
			;;
		esac
		;;
	esac
	COMPREPLY=("${COMPREPLY[@]/#/$glued}")
}

# Those of the words that begin as $cur does; behind a "=" belongs no blank.
_nsmon_words() {
	local word
	for word; do
		[[ $word == "$cur"* ]] && COMPREPLY+=("$word")
	done
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
	return 0
}

# A list with commas: the name after the last one, if it is not in front of it already.
_nsmon_list() {
	local begin= name
	[[ $cur == *,* ]] && begin=${cur%,*},
	for name; do
		[[ ,$begin != *,$name,* && $begin$name == "$cur"* ]] && COMPREPLY+=("$begin$name")
	done
	return 0
}

_nsmon_pids() {
	local path
	for path in /proc/[0-9]*; do
		[[ ${path#/proc/} == "$cur"* ]] && COMPREPLY+=("${path#/proc/}")
	done
	return 0
}

_nsmon_cgroups() {
	local IFS=$'\n'
	compopt -o filenames 2>/dev/null
	COMPREPLY=($(compgen -d -- "${cur:-/sys/fs/cgroup/}"))
}

_nsmon_files() {
	local IFS=$'\n'
	compopt -o filenames 2>/dev/null
	COMPREPLY=($(compgen -f -- "$cur"))
}

_nsmon_command() { # where COMMAND is
	if declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif [[ $COMP_CWORD == "$1" ]]; then
		COMPREPLY=($(compgen -c -- "$cur"))
	else
		_nsmon_files
	fi
}

complete -F _nsmon nsmon
