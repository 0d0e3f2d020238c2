#!/bin/sh
# Installs what is missing of the packages in scripts/packages.txt: shows the apt line, then runs
# it, with sudo where that is needed (one that may ask only on a terminal).
#
# usage: scripts/install.sh [--no-install] GROUP...
#
# Exit 0: all is there. 1: something is not; what to type has been said on stderr.
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 1
install=yes
if [ "${1-}" = --no-install ]; then
    install=no
    shift
fi
groups=" $* "
# What is run below is named from here: the path of the tree may have blanks.
cd "$here" || exit 1

say() {
    printf '%s\n' "$*" >&2
}

system_python() {
    if [ -x /usr/bin/python3 ]; then
        /usr/bin/python3 "$@"
    else
        python3 "$@"
    fi
}

is_there() {
    case $1 in
    cmd:*) command -v "${1#cmd:}" ;;
    pc:*) pkg-config --exists "${1#pc:}" ;;
    py:*) system_python -c "import ${1#py:}" ;;
    file:*)
        for file in ${1#file:}; do
            [ -e "$file" ] && return 0
        done
        return 1
        ;;
    *)
        say "scripts/packages.txt: '$1' is no way to see that a package is there"
        exit 2
        ;;
    esac >/dev/null 2>&1
}

# The names as the file has them; which of them this release knows is asked later, since a fresh
# machine's lists may be empty.
missing() {
    while read -r group package check; do
        case $group in '' | '#'*) continue ;; esac
        case $groups in *" $group "*) ;; *) continue ;; esac
        is_there "$check" || printf '%s\n' "$package"
    done <"$here/packages.txt"
}

candidate() {
    apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '^(none)$'
}

# clang's version is 1:14.0-55.7 on one release and 1:18.0-59~exp2 on another.
clang_major() {
    candidate clang | sed 's/^[0-9]*://; s/[^0-9].*//'
}

# stdin: names as in the file; stdout: names for apt. 1 if the lists know one of them not.
resolve() {
    status=0
    while read -r names; do
        optional=no
        case $names in *\?) optional=yes names=${names%\?} ;; esac
        case $names in *'{clang}'*)
            major=$(clang_major)
            names=$(printf %s "$names" | sed "s/{clang}/$major/; s/--/-/")
            ;;
        esac
        found=
        for name in $(printf %s "$names" | tr '|' ' '); do
            if [ -n "$(candidate "$name")" ]; then
                found=$name
                break
            fi
        done
        if [ -n "$found" ]; then
            printf '%s\n' "$found"
        elif [ $optional = no ]; then
            printf '%s\n' "${names%%|*}"
            status=1
        fi
    done
    return $status
}

run() {
    say "+ $*"
    "$@" >&2
}

wanted=$(missing)
[ -z "$wanted" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    say "not found here:" $wanted
    say "those are Debian's names; there is no apt-get here, so please install their like yourself"
    exit 1
fi

sudo=
if [ "$(id -u)" != 0 ]; then
    # Without a terminal nobody could answer a question.
    if [ -t 0 ] && [ -t 2 ]; then sudo=sudo; else sudo='sudo -n'; fi
fi

# Test peers come with services of their own (iperf3, nginx): none is to be started by a test.
quiet=
case $groups in *' test '*) quiet='sh ./without-services.sh' ;; esac
# A fresh machine is often still busy with updates of its own: wait for their lock.
apt='env DEBIAN_FRONTEND=noninteractive apt-get install --option=DPkg::Lock::Timeout=120'
apt="$apt -y --no-install-recommends"

by_hand() {
    say "to install them yourself: ${sudo:+sudo }apt-get update && ${sudo:+sudo }apt-get install" \
        "--no-install-recommends" $packages
}

packages=$(printf '%s\n' "$wanted" | resolve)
known=$?
[ -z "$packages" ] && exit 0
if [ $install = no ]; then
    say "not installed:" $packages
    by_hand
    exit 1
fi
if [ -n "$sudo" ] && ! command -v sudo >/dev/null 2>&1; then
    say "not installed:" $packages
    say "there is no sudo here to install them with"
    by_hand
    exit 1
fi

if [ $known != 0 ]; then
    say "the lists of packages are empty or old"
    run $sudo apt-get update -q || {
        by_hand
        exit 1
    }
    packages=$(printf '%s\n' "$wanted" | resolve)
fi
[ -n "$packages" ] && say "not installed yet:" $packages
if [ -n "$packages" ] && ! run $sudo $quiet $apt $packages; then
    # Lists that are too old name files that are gone.
    if ! run $sudo apt-get update -q || ! run $sudo $quiet $apt $packages; then
        by_hand
        exit 1
    fi
fi
# What this release does not have at all is no reason to complain at each run.
packages=$(missing | resolve)
[ -z "$packages" ] && exit 0
say "still not there:" $packages
exit 1
