# Completion of kubectl-mini for bash: source <(kubectl-mini completion bash)

_kubectl_mini() {
    local line words last typed answer directive candidate kept
    COMPREPLY=()
    # bash splits words at = and : too; the program wants them whole.
    line=${COMP_LINE:0:COMP_POINT}
    IFS=$' \t\n' read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    last=${words[${#words[@]} - 1]}
    answer=$("${words[0]}" __complete "${words[@]:1}" 2>/dev/null) || return
    directive=${answer##*:}
    answer=${answer%:*}

    # What stands before the part that bash replaces is taken off the candidates.
    typed=${COMP_WORDS[COMP_CWORD]}
    [[ $typed == [=:] ]] && typed=
    kept=${last%"$typed"}
    [[ $kept == -*= ]] && kept=

    local extensions=()
    while IFS= read -r candidate; do
        candidate=${candidate%%$'\t'*}
        [[ -z $candidate ]] && continue
        if (( directive & 8 )); then
            extensions+=("$candidate")
        else
            COMPREPLY+=("${candidate#"$kept"}")
        fi
    done <<< "$answer"

    if (( directive & 8 )); then
        while IFS= read -r candidate; do
            [[ -d $candidate || " ${extensions[*]} " == *" ${candidate##*.} "* ]] && COMPREPLY+=("$candidate")
        done < <(compgen -f -- "$typed")
        compopt -o filenames 2>/dev/null
    elif (( ! (directive & 4) && ${#COMPREPLY[@]} == 0 )); then
        compopt -o default 2>/dev/null
    fi
    (( directive & 2 )) && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _kubectl_mini kubectl-mini
