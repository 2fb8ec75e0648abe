# Completion of kubectl-mini for fish: kubectl-mini completion fish | source

function __kubectl_mini_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] "$last" 2>/dev/null)
    or return
    set -l directive (string sub -s 2 -- $answer[-1])
    set -l candidates $answer[1..-2]
    if test (math "bitand($directive, 8)") -ne 0
        for extension in $candidates
            __fish_complete_suffix .$extension
        end
        return
    end
    # A value behind --flag= is offered with its flag.
    if string match -q -- '--*=*' $last
        set -l flag (string replace -r '=.*' '=' -- $last)
        for candidate in $candidates
            echo "$flag$candidate"
        end
        return
    end
    if test (count $candidates) -eq 0; and test (math "bitand($directive, 4)") -eq 0
        __fish_complete_path $last
        return
    end
    printf '%s\n' $candidates
end

complete -c kubectl-mini -e
complete -c kubectl-mini -f -k -a '(__kubectl_mini_complete)'
