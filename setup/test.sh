# `./verdigris test [NAME]`: builds everything and runs every test, or those whose name matches NAME.
# shellcheck shell=bash

check_test_arguments() {
    [ $# -le 1 ] || wrong_use "test takes at most one NAME"
    case ${1:-} in -*) wrong_use "test has no option $1" ;; esac
}

run_tests() { # PRESET [NAME]
    local preset=$1 status=0
    shift
    local dir=$VG_ROOT/build/$preset
    local results=$dir/test_results.xml
    rm -f "$results"
    ctest --test-dir "$dir" -j $(($(nproc) + 1)) --timeout 600 --output-junit "$results" ${1:+-R "$1"} --no-tests=error \
        >"$dir/ctest.log" 2>&1 </dev/null || status=$?
    /usr/bin/python3 "$VG_ROOT/setup/test_summary.py" "$results" "$status" "${1:-}" || status=$?
    return "$status"
}
