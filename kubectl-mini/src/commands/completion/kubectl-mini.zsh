#compdef kubectl-mini
# Completion of kubectl-mini for zsh: source <(kubectl-mini completion zsh)

_kubectl_mini() {
    local answer directive line prefix
    local -a candidates extensions spacing
    answer=$("${words[1]}" __complete "${(@)words[2,CURRENT-1]}" "${words[CURRENT]}" 2>/dev/null) || return 1
    directive=${answer##*:}
    answer=${answer%:*}
    # A value behind --flag= is completed by itself.
    if [[ ${words[CURRENT]} == --*=* ]]; then
        prefix=${words[CURRENT]%%=*}=
        compset -P '*='
    fi
    for line in "${(@f)answer}"; do
        [[ -z $line ]] && continue
        if (( directive & 8 )); then
            extensions+=("${line%%$'\t'*}")
        elif [[ $line == *$'\t'* ]]; then
            candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        else
            candidates+=("${line//:/\\:}")
        fi
    done
    if (( directive & 8 )); then
        _files -g "*.(${(j:|:)extensions})"
        return
    fi
    (( directive & 2 )) && spacing=(-S '')
    if (( ${#candidates} )); then
        _describe -V 'candidates' candidates "${spacing[@]}"
    elif (( ! (directive & 4) )); then
        _files
    else
        return 1
    fi
}

# Sourced, it registers itself; found in fpath, it is called.
if [[ ${funcstack[1]} == _kubectl-mini ]]; then
    _kubectl_mini "$@"
else
    compdef _kubectl_mini kubectl-mini
fi
