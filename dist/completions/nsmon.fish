# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# fish completion for nsmon(8).

# COMMAND and its arguments come after "--".
function __nsmon_command
    contains -- -- (commandline -opc)
end

function __nsmon_complete_command
    set -l words (commandline -opc) (commandline -ct)
    set -l at (contains -i -- -- $words)
    complete -C (string escape -- $words[(math $at + 1)..-1] | string join ' ')
end

# Whether one of the commands, or with "trace" none, has been given.
function __nsmon_mode
    __nsmon_command; and return 1
    set -l words (commandline -opc)
    for name in list check
        if contains -- $name $words
            contains -- $name $argv
            return
        end
    end
    contains -- trace $argv
end

complete -c nsmon -f
complete -c nsmon -n __nsmon_command -a '(__nsmon_complete_command)'
complete -c nsmon -n '__nsmon_mode trace' -a list -d 'Every namespace with its processes'
complete -c nsmon -n '__nsmon_mode trace' -a check -d 'What this kernel offers'

complete -c nsmon -n '__nsmon_mode trace list check' -s o -l output -x -a 'text json' -d 'Format of the records'
complete -c nsmon -n '__nsmon_mode trace' -s o -l output -x -a ecs -d 'Format of the records'
complete -c nsmon -n '__nsmon_mode trace list check' -l btf -r -F -d 'Kernel BTF'
complete -c nsmon -n '__nsmon_mode trace list check' -s q -l quiet -d 'Fewer diagnostics'
complete -c nsmon -n '__nsmon_mode trace list check' -s v -l verbose -d 'More diagnostics'

complete -c nsmon -n '__nsmon_mode trace' -l backend -x -a 'auto fentry kprobe tracepoint' -d 'How to attach'

complete -c nsmon -n '__nsmon_mode trace list' -s n -l types -x -d 'Only these namespace types' \
    -a '(__fish_complete_list , "string split \  mnt uts ipc net pid pid_for_children user cgroup time time_for_children")'
complete -c nsmon -n '__nsmon_mode trace list' -l tree -d 'list: the processes, by parents and children'
complete -c nsmon -n '__nsmon_mode trace list' -l containers -d 'list: the containers'

complete -c nsmon -n '__nsmon_mode trace' -s e -l events -x -d 'Only these events' \
    -a '(__fish_complete_list , "string split \  fork exec exit ns cgroup")'
complete -c nsmon -n '__nsmon_mode trace' -s r -l reasons -x -d 'Only these reasons of namespace changes' \
    -a '(__fish_complete_list , "string split \  clone unshare setns exec fork kernel")'
complete -c nsmon -n '__nsmon_mode trace' -s p -l pid -x -a '(__fish_complete_pids)' -d 'Only this process and its descendants'
complete -c nsmon -n '__nsmon_mode trace' -l cgroup -x -a '(__fish_complete_directories)' -d 'Only tasks in this cgroup or below it'
complete -c nsmon -n '__nsmon_mode trace' -l container -x -d 'Only this container'
complete -c nsmon -n '__nsmon_mode trace' -s T -l threads -d 'Also fork and exit of threads'
complete -c nsmon -n '__nsmon_mode trace' -s s -l snapshot -d 'Begin with one proc record for each existing task'
complete -c nsmon -n '__nsmon_mode trace' -l no-snapshot -d 'Begin with the live stream'
complete -c nsmon -n '__nsmon_mode trace' -s t -l timestamps -d 'The time in front of each line of text'
complete -c nsmon -n '__nsmon_mode trace' -l failed -d 'Also failed attempts, with their errno'
complete -c nsmon -n '__nsmon_mode trace' -s w -l write -r -F -d 'Append to this file'
complete -c nsmon -n '__nsmon_mode trace' -l journal -d 'To the systemd journal, as fields'
complete -c nsmon -n '__nsmon_mode trace' -l metrics -r -F -d 'Write counts for Prometheus to this file'
complete -c nsmon -n '__nsmon_mode trace' -l user -x -a '(__fish_complete_users)' -d 'Run COMMAND as this user'
complete -c nsmon -n '__nsmon_mode trace' -l schema -d 'Print the JSON Schema of the records'
complete -c nsmon -n '__nsmon_mode trace' -l buffer -x -a '1M 2M 4M 8M 16M 32M 64M' -d 'Size of the kernel ring buffer'
complete -c nsmon -n '__nsmon_mode trace' -s '?' -l help -d 'Help'
complete -c nsmon -n '__nsmon_mode trace' -l usage -d 'A short form of the help'
complete -c nsmon -n '__nsmon_mode trace' -s V -l version -d 'The version'
