# Configuring and building a preset. Sourced by the launcher. Silent when nothing changed.
# shellcheck shell=bash

# configure_if_stale PRESET: runs CMake when this build directory was never configured, or for other settings.
configure_if_stale() {
    local dir=$VG_ROOT/build/$1
    local wanted
    wanted="$VG_ROOT $VG_UNICORN $(cksum <"$VG_ROOT/CMakePresets.json")"
    if [ -e "$dir/build.ninja" ] && [ "$(cat "$dir/configured_for" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    logged "configuring $1 with CMake" cmake -S "$VG_ROOT" --preset "$1" --fresh "-DVG_UNICORN_PREFIX=$VG_UNICORN" ||
        exit 1
    printf '%s\n' "$wanted" >"$dir/configured_for"
}

# build PRESET TARGET...
build() {
    local preset=$1
    shift
    configure_if_stale "$preset"
    set -o pipefail
    if ! (cd "$VG_ROOT" && ninja -C "build/$preset" -j "$(nproc)" "$@" 2>&1 </dev/null) |
        show_progress "$preset"; then
        failed "building $preset"
        exit 1
    fi
    set +o pipefail
}

# show_progress PRESET: from ninja's output, one changing line on a terminal and four lines elsewhere; all of it to the log.
show_progress() {
    local line step steps shown=-1 started=$SECONDS count=0
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$VG_LOG"
        [[ $line =~ ^\[([0-9]+)/([0-9]+)\]\ (.*) ]] || continue
        case ${BASH_REMATCH[3]} in Re-checking* | Re-running*) continue ;; esac
        step=${BASH_REMATCH[1]} steps=${BASH_REMATCH[2]}
        [ "$steps" -gt 0 ] || continue
        count=$step
        if [ -t 2 ]; then
            printf '\rverdigris: building %s: %d of %d steps' "$1" "$step" "$steps" >&2
        elif [ $((step * 4 / steps)) -gt "$shown" ]; then
            shown=$((step * 4 / steps))
            say "building $1: $step of $steps steps"
        fi
    done
    if [ "$count" -gt 0 ]; then
        [ -t 2 ] && printf '\r\033[K' >&2
        say "built $1 in $((SECONDS - started)) s"
    fi
}
