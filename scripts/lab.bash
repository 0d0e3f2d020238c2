# bash completion for lab. All words are asked of lab itself (`lab --dump-options`), which makes
# them from its option tables. To be kept in step here: which options take an engine, a link, a file.

_lab_ask() {
    "${COMP_WORDS[0]}" --dump-options "$@" 2>/dev/null
}

# The words that may follow an option: its choices, or what its kind of value completes to.
_lab_values() {
    local command=$1 option=$2 current=$3
    case $option in
    -e | --engine | --server-engine | --reference | --link)
        # A list: complete what comes after the last comma.
        local before= words
        [[ $current == *,* ]] && before=${current%,*},
        case $command$option in
        *--link) words=$(_lab_ask links) ;;
        run-e | run--engine) words="$(_lab_ask engines) all" ;;
        *) words=$(_lab_ask engines) ;;
        esac
        COMPREPLY=($(compgen -P "$before" -W "$words" -- "${current##*,}"))
        ;;
    --job | --json) COMPREPLY=($(compgen -f -- "$current")) ;;
    *)
        local words
        words=$(_lab_ask choices "$command" | sed -n "s/^$option //p")
        [[ -n $words ]] && COMPREPLY=($(compgen -W "$words" -- "$current"))
        ;;
    esac
}

_lab() {
    local current=${COMP_WORDS[COMP_CWORD]} previous= command=${COMP_WORDS[1]-}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "$(_lab_ask commands) --help --version" -- "$current"))
        return
    fi
    previous=${COMP_WORDS[COMP_CWORD - 1]}
    if [[ $previous == -* && $current != -* ]]; then
        _lab_values "$command" "$previous" "$current"
        [[ ${#COMPREPLY[@]} -gt 0 ]] && return
    fi
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(_lab_ask words "$command")" -- "$current"))
    elif [[ $command == engines ]]; then
        COMPREPLY=($(compgen -W "$(_lab_ask engines)" -- "$current"))
    elif [[ $command == links ]]; then
        COMPREPLY=($(compgen -W "$(_lab_ask links)" -- "$current"))
    elif ((COMP_CWORD == 2)); then
        COMPREPLY=($(compgen -W "$(_lab_ask workloads)" -- "$current"))
    fi
}

complete -o default -F _lab lab
