#!/usr/bin/perl
# vsock connect CID PORT | vsock listen PORT [COMMAND...]: standard input and output over a socket between guest and host
# (the host is CID 2). `listen` takes one connection; with a command, that is what the other end speaks with.
use strict;
use warnings;

use constant {AF_VSOCK => 40, SOCK_STREAM => 1, CID_ANY => 0xffffffff};

# struct sockaddr_vm: family, reserved, port, CID, padding.
sub address { my ($cid, $port) = @_; return pack('S S L L x4', AF_VSOCK, 0, $port, $cid) }

sub carry {
    my ($from, $to) = @_;
    while (my $got = sysread($from, my $piece, 65536)) {
        for (my $sent = 0; $sent < $got;) {
            my $part = syswrite($to, $piece, $got - $sent, $sent);
            die "vsock: $!\n" unless defined $part;
            $sent += $part;
        }
    }
}

my ($mode, @rest) = @ARGV;
die "usage: vsock connect CID PORT | vsock listen PORT [COMMAND...]\n" unless ($mode // '') =~ /^(connect|listen)$/ && @rest;
socket(my $peer, AF_VSOCK, SOCK_STREAM, 0) or die "vsock: socket: $!\n";
if ($mode eq 'connect') {
    connect($peer, address(@rest[0, 1])) or die "vsock: connect: $!\n";
} else {
    my ($listener, $port) = ($peer, shift @rest);
    bind($listener, address(CID_ANY, $port)) && listen($listener, 8) or die "vsock: listen: $!\n";
    print STDERR "vsock: listening on $port\n";
    undef $peer;
    accept($peer, $listener) or die "vsock: accept: $!\n";
    if (@rest) {
        open(STDIN, '<&', $peer) && open(STDOUT, '>&', $peer) or die "vsock: $!\n";
        exec { $rest[0] } @rest or die "vsock: $rest[0]: $!\n";
    }
}
my $child = fork() // die "vsock: fork: $!\n";
if ($child == 0) {
    carry(\*STDIN, $peer);
    shutdown($peer, 1);
    exit 0;
}
carry($peer, \*STDOUT);
waitpid($child, 0);
exit($? >> 8);
