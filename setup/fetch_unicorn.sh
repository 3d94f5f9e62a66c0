#!/bin/bash
# fetch_unicorn.sh WORK: unpacks the Unicorn development package of Debian 13 into WORK/root, on Debian 12.
# apt gets a private state in WORK: it neither reads nor writes what belongs to the system, except its keys and its
# transport settings.
set -euo pipefail
work=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$work"
mkdir -p lists/partial cache/archives/partial root
/usr/bin/python3 "$here/debian_source.py" trixie --instead-of bookworm oldstable stable >trixie.sources
private=(
    -o "Dir::Etc::sourcelist=$work/trixie.sources" -o Dir::Etc::sourceparts=-
    -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=-
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
    -o APT::Architecture=amd64 -o Acquire::Languages=none
    # As root apt would fetch as its own user, which may not write here.
    -o APT::Sandbox::User=root
)
apt-get "${private[@]}" update
apt-get "${private[@]}" download libunicorn-dev
dpkg-deb -x libunicorn-dev_*.deb root
chmod 755 root
