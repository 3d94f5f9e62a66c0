#!/bin/busybox sh
# shellcheck shell=dash disable=SC2046
# The first process of the Linux guest. A scenario hands over /vg/script.sh in a second cpio archive behind this one.
# Loads no module unless the machine shows its device, so that a boot costs no more than it must.
export PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/ TERM=vt100
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
echo "verdigris: user space reached"

for device in /sys/bus/acpi/devices/VMBUS:* /sys/bus/acpi/devices/MSFT1000:*; do
    [ -e "$device" ] && modprobe hv_vmbus && modprobe -a $(cat /sys/bus/vmbus/devices/*/modalias 2>/dev/null) 2>/dev/null
done
for alias in /sys/bus/pci/devices/*/modalias; do
    [ -e "$alias" ] && modprobe "$(cat "$alias")" 2>/dev/null
done

if [ -f /vg/script.sh ]; then
    sh /vg/script.sh
    echo "verdigris: script exit $?"
else
    uname -a
    cat /proc/cmdline /proc/interrupts
    echo "processors: $(nproc)"
    echo "clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
fi

# Changing a terminal setting waits until the console has sent everything; power-off would cut it.
stty -echo 2>/dev/null
poweroff -f
