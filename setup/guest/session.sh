#!/bin/busybox sh
# shellcheck shell=dash
# What the Linux guest does once its drivers are there: the scenario's script, then the end.
mount -t tmpfs tmpfs /tmp
echo "verdigris: user space reached"
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
sync
umount -a -r 2>/dev/null
poweroff -f
