# Distribution packages: which are needed, which are missing, and installing them. Sourced by the launcher.
# shellcheck shell=bash

# needed_packages GROUP...: rows "package group probe purpose" of setup/packages.txt for these groups and this release.
needed_packages() {
    local package group probe purpose
    while read -r package group probe purpose; do
        case $package in '' | '#'*) continue ;; esac
        case " $* " in *" $group "*) ;; *) continue ;; esac
        case $package in
            *@*)
                [ "$VG_DISTRIBUTION" = debian ] && [ "${VG_RELEASE%%.*}" -lt "${package##*@}" ] && continue
                package=${package%@*}
                ;;
        esac
        printf '%s %s %s %s\n' "$package" "$group" "$probe" "$purpose"
    done <"$VG_ROOT/setup/packages.txt"
}

# package_version PACKAGE PROBE: prints what is there; fails if it is missing.
package_version() {
    local version
    case $2 in path:*) command -v "${2#path:}" >/dev/null && echo "${2#path:} on the PATH" && return 0 ;; esac
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2016  # dpkg-query expands these, not the shell
        version=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p' | head -n 1)
        if [ -n "$version" ]; then
            echo "$version"
            return 0
        fi
        is_debian && return 1
    fi
    case $2 in
        cmd:*) command -v "${2#cmd:}" >/dev/null && echo present ;;
        python:*) /usr/bin/python3 -c "import ${2#python:}" 2>/dev/null && echo present ;;
        pc:*) pkg-config --modversion "${2#pc:}" 2>/dev/null ;;
        header:*) { [ -e "/usr/include/${2#header:}" ] || [ -e "/usr/local/include/${2#header:}" ]; } && echo present ;;
    esac
}

missing_packages() { # GROUP...
    local package probe
    while read -r package _ probe _; do
        package_version "$package" "$probe" >/dev/null || echo "$package"
    done < <(needed_packages "$@")
}

# as_root COMMAND...: runs it as root, directly or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 2 ]; then
        sudo -- "$@"
    else
        sudo -n -- "$@"
    fi
}

install_packages() { # GROUP...
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" = 0 ] && return 0
    if ! is_debian; then
        die 1 "$VG_DISTRIBUTION_NAME is not Debian 12 or later: install what Debian calls ${missing[*]}" \
            "(docs/dependencies.md says what each is), then repeat"
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        die 1 "packages are missing and there is no sudo; as root: apt-get install ${missing[*]}"
    fi
    logged "asking the package archive what it offers" as_root apt-get update ||
        say "going on with the package lists that are there"
    logged "installing with apt-get: ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
        -o DPkg::Lock::Timeout=120 --no-install-recommends "${missing[@]}" ||
        die 1 "packages could not be installed; as root: apt-get install ${missing[*]}"
}
