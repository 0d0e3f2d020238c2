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
bad=0
for file in $(find bench cli client core engines proto pump run server tests -name '*.[ch]'); do
    "$format" --dry-run --Werror "$file" 2>/dev/null && continue
    if [ "${2-}" = --fix ]; then
        "$format" -i "$file"
    else
        echo "$file"
        bad=1
    fi
done
[ $bad = 0 ] || echo "clang-format 14 would change these: tests/format.sh . --fix"
exit $bad
