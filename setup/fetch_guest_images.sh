#!/bin/bash
# fetch_guest_images.sh CACHE FLAVOUR: makes CACHE/guest/linux/{vmlinuz,initramfs.cpio,root.img,manifest.json} (cloud) or
# CACHE/guest/linux-generic/{vmlinuz,vmlinux,initramfs.cpio,manifest.json} (generic) from what this machine's Debian offers.
# Packages stay in CACHE/guest/packages, so that a changed recipe needs no network.
set -euo pipefail
cache=$1
flavour=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
packages=$cache/guest/packages
case $flavour in
    cloud) meta=linux-image-cloud-amd64 kernels='linux-image-*-cloud-amd64_*.deb' place=$cache/guest/linux ;;
    generic) meta=linux-image-amd64 kernels='linux-image-*[0-9]-amd64_*.deb' place=$cache/guest/linux-generic ;;
    *) echo "there is no flavour $flavour: cloud, generic" && exit 1 ;;
esac
mkdir -p "$packages"
work=$(mktemp -d "$cache/guest/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

offered_version() { apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1; }
newest_kept() { find "$packages" -name "$1" -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-; }

# fetch NAME VERSION: the package of exactly this version, kept from earlier or downloaded.
fetch() {
    local file=$packages/${1}_${2//:/%3a}_amd64.deb
    if [ ! -f "$file" ]; then
        mkdir -p "$work/download"
        (cd "$work/download" && apt-get -o APT::Sandbox::User=root download "$1=$2") || return 1
        mv "$work"/download/*.deb "$file"
    fi
    printf '%s\n' "$file"
}

kernel=$(apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
kernel_file='' busybox_file=''
if [ -n "$kernel" ]; then
    kernel_file=$(fetch "$kernel" "$(offered_version "$kernel")" | tail -n 1) || kernel_file=''
fi
busybox_version=$(offered_version busybox-static)
if [ -n "$busybox_version" ]; then
    busybox_file=$(fetch busybox-static "$busybox_version" | tail -n 1) || busybox_file=''
fi
# Without the archive, what was kept from an earlier time serves.
[ -n "$kernel_file" ] || kernel_file=$(newest_kept "$kernels")
[ -n "$busybox_file" ] || busybox_file=$(newest_kept 'busybox-static_*.deb')
if [ -z "$kernel_file" ] || [ -z "$busybox_file" ]; then
    echo "the package archive offers no ${kernel:-$meta} or no busybox-static; run apt-get update, or look at the apt sources"
    exit 1
fi

dpkg-deb -x "$kernel_file" "$work/kernel"
dpkg-deb -x "$busybox_file" "$work/busybox"
busybox=$work/busybox/bin/busybox
[ -f "$busybox" ] || busybox=$work/busybox/usr/bin/busybox
# Programs beside busybox, for the root disk only. Without the archive and without what was kept the guest does without.
program_files=()
fetch_programs() {
    local name version file
    for name in hyperv-daemons perl-base libc6 libcrypt1; do
        version=$(offered_version "$name") file=''
        [ -z "$version" ] || file=$(fetch "$name" "$version" | tail -n 1) || file=''
        [ -n "$file" ] || file=$(newest_kept "${name}_*.deb")
        if [ -z "$file" ]; then
            echo "the package archive offers no $name: the guest gets no daemons for keys, snapshots and file copy, and no vsock"
            program_files=()
            return
        fi
        program_files+=("$file")
    done
}
guest_files=(
    --file "sbin/vg-session=$here/guest/session.sh"
    --file "etc/inittab=$here/guest/inittab"
    --file "etc/udhcpc/default.script=$here/guest/dhcp.sh"
)
field() { dpkg-deb -f "$1" "$2"; }
# The root disk has no drivers on it: one serves all kernels.
if [ "$flavour" = cloud ]; then
    fetch_programs
    mkdir -p "$work/programs" "$work/tree"
    for file in "${program_files[@]}"; do dpkg-deb -x "$file" "$work/programs"; done
    /usr/bin/python3 "$here/guest_programs.py" --packages "$work/programs" --out "$work/tree"
fi
package_names=()
for file in "$kernel_file" "$busybox_file" "${program_files[@]}"; do
    package_names+=(--package "$(field "$file" Package)=$(field "$file" Version)")
done
/usr/bin/python3 "$here/initramfs.py" --flavour "$flavour" --kernel-root "$work/kernel" --busybox-root "$work/busybox" \
    --init "$here/guest/init.sh" --out "$work/linux" "${guest_files[@]}" "${package_names[@]}"
if [ "$flavour" = cloud ]; then
    /usr/bin/python3 "$here/root_disk.py" --busybox "$busybox" --out "$work/linux/root.img" --tree "$work/tree" \
        "${guest_files[@]}" --file "usr/bin/vsock=$here/guest/vsock.pl"
fi
(cd "$here" && cat fetch_guest_images.sh initramfs.py root_disk.py guest_programs.py guest/*) | sha256sum | cut -d' ' -f1 >"$work/linux/recipe"
chmod 755 "$work/linux"

# Two renames: a reader sees the old images or the new ones, or for an instant none, but never half of them.
rm -rf "$place.old"
[ ! -e "$place" ] || mv -T "$place" "$place.old"
mv -T "$work/linux" "$place"
rm -rf "$place.old"
find "$packages" \( -name "$kernels" -o -name 'busybox-static_*.deb' \) ! -path "$kernel_file" ! -path "$busybox_file" -delete
for file in "${program_files[@]}"; do
    find "$packages" -name "$(field "$file" Package)_*.deb" ! -path "$file" -delete
done
