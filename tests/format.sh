#!/bin/sh
# Holds .clang-format, by clang-format 14: another release formats otherwise, and there is no
# way to please two. Exit 77: that release is not here.
#
# usage: tests/format.sh ROOT [--fix]
set -u

cd "$1" || exit 2
for format in clang-format-14 clang-format; do
    case $($format --version 2>/dev/null) in *'version 14.'*) break ;; esac
    format=
done
if [ -z "$format" ]; then
    echo "clang-format 14 is not installed (apt install clang-format-14)"
    exit 77
fi
sources() {
    find bench cli client core engines proto pump run server tests -name '*.[ch]' -print0
}
if [ "${2-}" = --fix ]; then
    sources | xargs -0 "$format" -i
else
    sources | xargs -0 "$format" --dry-run --Werror
fi
