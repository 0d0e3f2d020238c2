#!/bin/sh
# Runs a command (apt-get install ...) as root such that no package starts a service: Debian's
# policy-rc.d says no for as long as it runs. A policy that the machine has already stays; one
# that an interrupted run of this script left behind is known by its second line.
#
# usage: scripts/without-services.sh COMMAND [ARGUMENT]...
set -u

policy=/usr/sbin/policy-rc.d
mark='# put here by lab, scripts/without-services.sh, for the length of one installation'

if [ -e $policy ] && ! grep -qxF "$mark" $policy; then
    exec "$@"
fi
trap 'rm -f $policy' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >$policy && chmod 755 $policy || exit
"$@"
