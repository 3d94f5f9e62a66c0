#!/bin/busybox sh
# shellcheck shell=dash disable=SC2154
# What udhcpc calls with what it got.
case $1 in
    deconfig) ip addr flush dev "$interface" && ip link set "$interface" up ;;
    bound | renew)
        ip addr replace "$ip/$mask" dev "$interface"
        for gateway in $router; do ip route replace default via "$gateway" dev "$interface"; done
        : >/etc/resolv.conf
        for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
        ;;
esac
