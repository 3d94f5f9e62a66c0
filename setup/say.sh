# What every set-up step shares: how it speaks, where it logs, where it keeps things. Sourced by the launcher.
# shellcheck shell=bash disable=SC2034

say() { printf 'verdigris: %s\n' "$*" >&2; }

die() { # STATUS MESSAGE...
    local status=$1
    shift
    say "$*"
    exit "$status"
}

wrong_use() { die 2 "$* (./verdigris --help lists the commands)"; }

# did_you_mean WORD KNOWN...: the end of a message, if a known word begins or ends like it or has the same letters.
did_you_mean() {
    local word=$1 known letters
    shift
    letters=$(fold -w1 <<<"$word" | sort | tr -d '\n')
    for known in "$@"; do
        if [ "$(fold -w1 <<<"$known" | sort | tr -d '\n')" = "$letters" ] || [ "${known:0:3}" = "${word:0:3}" ] ||
            { [ ${#known} -gt 3 ] && [ "${known: -3}" = "${word: -3}" ]; }; then
            printf '; did you mean %s?' "$known"
            return
        fi
    done
}

# logged STEP COMMAND...: announces a step, sends its output to the log, shows the log's end if it fails.
logged() {
    local step=$1
    shift
    say "$step"
    printf '\n== %s\n+ %s\n' "$step" "$*" >>"$VG_LOG"
    if ! "$@" >>"$VG_LOG" 2>&1 </dev/null; then
        failed "$step"
        return 1
    fi
}

failed() { # STEP
    say "failed: $1; the log ends with:"
    tail -n 25 "$VG_LOG" | sed 's/^/    /' >&2
    say "whole log: $VG_LOG"
}

# The cache holds what is fetched: the Unicorn library where the system has none, and guest images.
find_cache() {
    if [ -n "${VERDIGRIS_CACHE:-}" ]; then
        VG_CACHE=$VERDIGRIS_CACHE
    elif [ -n "${XDG_CACHE_HOME:-}" ]; then
        VG_CACHE=$XDG_CACHE_HOME/verdigris
    elif [ -n "${HOME:-}" ] && { [ -w "$HOME/.cache" ] || [ -w "$HOME" ]; }; then
        VG_CACHE=$HOME/.cache/verdigris
    else
        VG_CACHE=$VG_ROOT/build/cache
    fi
    case $VG_CACHE in /*) ;; *) VG_CACHE=$PWD/$VG_CACHE ;; esac
}

read_distribution() {
    VG_DISTRIBUTION=unknown
    VG_RELEASE=0
    VG_DISTRIBUTION_NAME="this system"
    if [ -r /etc/os-release ]; then
        # shellcheck disable=SC1091
        read -r VG_DISTRIBUTION VG_RELEASE VG_DISTRIBUTION_NAME < <(
            . /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-0} ${PRETTY_NAME:-}"
        )
        # Debian's testing suite has no number; it is newer than every release that has one.
        [ "$VG_DISTRIBUTION $VG_RELEASE" = "debian 0" ] && VG_RELEASE=99
    fi
}

is_debian() { [ "$VG_DISTRIBUTION" = debian ] && command -v dpkg-query >/dev/null && [ "${VG_RELEASE%%.*}" -ge 12 ]; }
