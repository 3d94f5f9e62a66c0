# `./verdigris doctor`: each requirement, what was found, and how to get what is not there. Needs nothing built.
# shellcheck shell=bash

doctor() {
    [ $# = 0 ] || wrong_use "doctor takes no argument"
    local package probe purpose version preset absent=0
    printf '%-20s %-26s %s\n' requirement found 'purpose, or how to get it'
    if is_debian; then
        doctor_row "Debian" "$VG_RELEASE" "the releases that set-up knows: 12 and later"
    else
        doctor_row "Debian" "$VG_DISTRIBUTION_NAME" "set-up installs nothing here; missing rows are yours to install"
    fi
    while read -r package _ probe purpose; do
        if version=$(package_version "$package" "$probe"); then
            doctor_row "$package" "$version" "$purpose"
        else
            doctor_row "$package" missing "$purpose; $(how_to_get "$package")"
            absent=1
        fi
    done < <(needed_packages build report test bench)
    if find_unicorn; then
        doctor_row "Unicorn" "$(unicorn_version_of "$VG_UNICORN")" "processor engine, in $VG_UNICORN"
    else
        doctor_row "Unicorn" missing "2.1 or later, static library; ./verdigris setup fetches it"
        absent=1
    fi
    if guest_images_are_there; then
        doctor_row "Linux guest" "$(guest_kernel_release)" "in $VG_CACHE/guest/linux"
    else
        doctor_row "Linux guest" missing "kernel and user space of a guest; ./verdigris setup fetches them"
        absent=1
    fi
    if [ -s "$VG_CACHE/guest/linux-generic/manifest.json" ]; then
        doctor_row "generic Linux" "$(guest_kernel_release linux-generic)" "in $VG_CACHE/guest/linux-generic"
    else
        doctor_row "generic Linux" missing "for scenarios with flavour=\"generic\" only; ./verdigris setup fetches it"
    fi
    for preset in release dev; do
        [ -x "$VG_ROOT/build/$preset/verdigris" ] && doctor_row "build $preset" present "build/$preset/verdigris"
    done
    return "$absent"
}

doctor_row() { printf '%-20s %-26s %s\n' "$1" "${2:0:26}" "$3"; }

how_to_get() { # PACKAGE
    if ! is_debian; then
        echo "Debian calls it $1"
    elif [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; then
        echo "./verdigris setup installs it"
    else
        echo "as root: apt-get install $1"
    fi
}
