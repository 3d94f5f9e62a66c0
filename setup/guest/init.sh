#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the Linux guest. A scenario hands over /vg/script.sh in a second cpio archive behind this one.
# Loads the drivers of the devices that the machine shows; with root=DEVICE on the kernel's command line goes on from
# that disk.
export PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/ TERM=vt100
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1

for device in /sys/bus/acpi/devices/VMBUS:*; do
    [ -e "$device" ] && modprobe hv_vmbus
done
# Offers come one by one: they are all there when two looks in a row find as many.
seen=-1
while [ -d /sys/bus/vmbus ]; do
    now=$(find /sys/bus/vmbus/devices/ -type l | wc -l)
    [ "$now" = "$seen" ] && break
    seen=$now
    sleep 0.05
done
for alias in /sys/bus/vmbus/devices/*/modalias /sys/bus/pci/devices/*/modalias; do
    [ -e "$alias" ] && modprobe "$(cat "$alias")" 2>/dev/null
done

# No device asks for these: sockets to the host, discs, events of keyboard and pointer.
[ -d /sys/bus/vmbus ] && modprobe -a hv_sock sr_mod isofs evdev 2>/dev/null

read -r parameters </proc/cmdline
for parameter in $parameters; do
    case $parameter in root=*) root=${parameter#root=} ;; esac
done
if [ -n "$root" ]; then
    modprobe sd_mod
    tries=0
    device=
    while [ $tries -lt 100 ]; do
        device=$(findfs "$root" 2>/dev/null) || device=$root
        [ -b "$device" ] && break
        tries=$((tries + 1))
        sleep 0.05
    done
    if mount -t ext4 "$device" /mnt; then
        echo "verdigris: root is $device"
        mount -t tmpfs tmpfs /mnt/vg
        cp -a /vg/. /mnt/vg/
        for place in proc sys dev; do mount --move /$place /mnt/$place; done
        exec switch_root /mnt /sbin/init
    fi
    echo "verdigris: no root at $root"
fi
exec /sbin/init
