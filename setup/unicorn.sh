# The Unicorn library, 2.1 or later, static. Sourced by the launcher.
# Debian 13 packages it. Debian 12 packages 2.0, whose x86 MMU does not translate, so there the development package of
# Debian 13 is fetched from the machine's own mirror and unpacked into the cache; nothing of the system changes.
# shellcheck shell=bash disable=SC2034

unicorn_version_of() { # PREFIX
    sed -n 's/^#define UC_API_MAJOR \([0-9]*\).*/\1/p; s/^#define UC_API_MINOR \([0-9]*\).*/\1/p; s/^#define UC_API_PATCH \([0-9]*\).*/\1/p' \
        "$1/include/unicorn/unicorn.h" 2>/dev/null | paste -sd .
}

unicorn_is_usable() { # PREFIX
    local version
    version=$(unicorn_version_of "$1")
    case $version in 2.[1-9]*) ;; *) return 1 ;; esac
    compgen -G "$1/lib/libunicorn.a" >/dev/null || compgen -G "$1/lib/*/libunicorn.a" >/dev/null
}

# find_unicorn: sets VG_UNICORN (prefix with include/ and lib/), the system's before the cache's; fails if there is none.
find_unicorn() {
    local prefix
    for prefix in "$(pkg-config --variable=prefix unicorn 2>/dev/null)" /usr/local /usr "$VG_CACHE"/unicorn-*/usr; do
        if [ -n "$prefix" ] && unicorn_is_usable "$prefix"; then
            VG_UNICORN=$prefix
            return 0
        fi
    done
    return 1
}

install_unicorn() {
    find_unicorn && return 0
    if ! is_debian; then
        die 1 "Unicorn 2.1 or later with its static library is missing: install it (pkg-config must find it), then repeat"
    fi
    mkdir -p "$VG_CACHE"
    local work
    work=$(mktemp -d "$VG_CACHE/unicorn.XXXXXX")
    if logged "fetching the Unicorn library of Debian 13 into $VG_CACHE" bash "$VG_ROOT/setup/fetch_unicorn.sh" "$work"; then
        local fetched
        fetched=$work/root/usr
        if unicorn_is_usable "$fetched"; then
            local final
            final=$VG_CACHE/unicorn-$(unicorn_version_of "$fetched")
            rm -rf "$final"
            mv -T "$work/root" "$final"
        fi
        rm -rf "$work"
        find_unicorn && return 0
    fi
    rm -rf "$work"
    die 1 "Unicorn 2.1 could not be fetched; put it under a prefix and set PKG_CONFIG_PATH, or mend the apt sources"
}
