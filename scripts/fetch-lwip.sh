#!/bin/sh
# Gets lwIP's source, as the distribution's source package has it, to be compiled into lab.
#
# usage: scripts/fetch-lwip.sh [DIR]        (default: build-lwip; it must not exist yet)
#
# apt fetches and checks it, from where this machine's packages come from: its lists of sources are
# read, and nothing of its configuration is changed. No root is needed, but dpkg-dev is.
#
# Exit 0: DIR has it. 1: it could not be had; why has been said on stderr. 2: wrong usage.
set -u

say() {
    printf '%s\n' "$*" >&2
}

case ${1-} in -h | --help)
    sed -n 's/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
if [ $# -gt 1 ]; then
    say 'usage: scripts/fetch-lwip.sh [DIR]'
    exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
dir=${1-build-lwip}
case $dir in /*) ;; *) dir=$root/$dir ;; esac
if [ -e "$dir" ]; then
    say "$dir is there already: remove it to fetch anew, or name another folder"
    exit 1
fi
for tool in apt-get dpkg-source; do
    command -v $tool >/dev/null 2>&1 || {
        say "$tool is not installed (apt install dpkg-dev; only Debian and its like have it)"
        exit 1
    }
done

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/out"
# apt gives its downloads to a user of their own when it is root.
chmod 755 "$work" "$work/out"

# The same places, for their sources; by both formats that apt reads.
etc=${APT_ETC:-/etc/apt} # another one for the tests
for file in "$etc"/sources.list "$etc"/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    sed -n 's/^[[:space:]]*deb\(-src\)\{0,1\}[[:space:]]/deb-src /p' "$file"
done | sort -u >"$work/parts/lab.list"
for file in "$etc"/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    sed 's/^Types:.*/Types: deb-src/' "$file"
    echo
done >"$work/parts/lab.sources"
if ! grep -q '^deb-src' "$work/parts/lab.list" && ! grep -q '^URIs:' "$work/parts/lab.sources"; then
    say "$etc names no place that packages come from: see man sources.list"
    exit 1
fi

apt() {
    apt-get -q --option=Dir::Etc::SourceList=/dev/null \
        --option=Dir::Etc::SourceParts="$work/parts" --option=Dir::State::Lists="$work/lists" \
        --option=Dir::Cache="$work/cache" --option=APT::Sandbox::User="$(id -un)" "$@"
}

log=$work/log
failed() {
    cat "$log" >&2
    say "$1"
    exit 1
}

# What one of several places lacks is no harm, as long as lwIP is among the rest.
apt update >"$log" 2>&1 || say "not all of this machine's package sources could be read"
(cd "$work/out" && apt source lwip) >"$log" 2>&1 ||
    failed "apt could not get the source package lwip; its words are above"
found=$(find "$work/out" -mindepth 1 -maxdepth 1 -type d)
[ -f "$found/src/core/tcp_in.c" ] ||
    failed "the source package has no src/core/tcp_in.c: this is no lwIP that lab knows"
mkdir -p "$(dirname "$dir")" && mv "$found" "$dir" || exit 1

say "lwIP $(dpkg-parsechangelog -l "$dir/debian/changelog" -S Version) is in $dir; now type"
say "    meson setup build --reconfigure -Dlwip_src=$dir && ninja -C build"
