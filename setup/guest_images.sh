# Images of the Linux guest. Sourced by the launcher. A run takes what is there, so that results do not change by
# themselves; `./verdigris setup` looks whether the archive offers something newer.
# shellcheck shell=bash

guest_images_are_there() {
    local file
    for file in vmlinuz initramfs.cpio root.img manifest.json; do
        [ -s "$VG_CACHE/guest/linux/$file" ] || return 1
    done
}

guest_kernel_release() { sed -n 's/.*"kernel_release": "\(.*\)".*/\1/p' "$VG_CACHE/guest/${1:-linux}/manifest.json"; }

guest_recipe_changed() {
    local now
    now=$(cd "$VG_ROOT/setup" && cat fetch_guest_images.sh initramfs.py root_disk.py guest_programs.py guest/* | sha256sum | cut -d' ' -f1)
    [ "$now" != "$(cat "$VG_CACHE/guest/linux/recipe" 2>/dev/null)" ]
}

# The other kernel, with drivers of emulated devices: few scenarios want it, and its package is large.
generic_images_are_there() {
    [ -s "$VG_CACHE/guest/linux-generic/manifest.json" ] &&
        [ "$(cat "$VG_CACHE/guest/linux-generic/recipe")" = "$(cat "$VG_CACHE/guest/linux/recipe" 2>/dev/null)" ]
}

make_guest_images() { # FLAVOUR FOLDER
    mkdir -p "$VG_CACHE/guest"
    logged "making the Linux guest from this system's $1 kernel package, in $VG_CACHE/guest/$2" \
        bash "$VG_ROOT/setup/fetch_guest_images.sh" "$VG_CACHE" "$1"
}

make_generic_images() {
    make_guest_images generic linux-generic && return 0
    [ -s "$VG_CACHE/guest/linux-generic/manifest.json" ] ||
        say "no Linux guest with the generic kernel: scenarios with flavour=\"generic\" cannot run"
}

# ensure_guest_images [refresh|all]: refresh looks for newer packages; all demands the generic kernel's as well, which
# otherwise come with the others.
ensure_guest_images() {
    if guest_images_are_there && [ "${1:-}" != refresh ] && ! guest_recipe_changed; then
        if [ "${1:-}" = all ] && is_debian && ! generic_images_are_there; then make_generic_images; fi
        return 0
    fi
    if ! is_debian; then
        guest_images_are_there && return 0
        say "no Linux guest: its packages come from Debian; scenarios may name their own kernel and initramfs"
        return 0
    fi
    if make_guest_images cloud linux; then
        make_generic_images
        return 0
    fi
    guest_images_are_there || exit 1
    say "keeping the Linux guest that is there"
}
