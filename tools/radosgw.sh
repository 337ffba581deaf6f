#!/bin/sh
# A Ceph object gateway on this machine, for the tests of the object store: a monitor, a
# manager, an OSD on a file and radosgw. Nothing is installed or left behind; needs Debian's ceph-mon,
# ceph-mgr, ceph-osd and radosgw.
#
#   tools/radosgw.sh sh -c '.venv/bin/pytest tests/storage -k "object or remote"'
#
# The command sees TEST_S3_ENDPOINT (the endpoint) and credentials. CEPH_PREFIX: where the packages
# were unpacked, when they are not installed.
set -eu
p="${CEPH_PREFIX:-}"
home=$(mktemp -d)
port=${RGW_PORT:-7480}
if [ -n "$p" ]; then
  lib="$p/usr/lib/x86_64-linux-gnu"
  export LD_LIBRARY_PATH="$lib:$p/lib/x86_64-linux-gnu:$lib/ceph"
  export PYTHONPATH="$p/usr/lib/python3/dist-packages"
  export PATH="$p/usr/bin:$PATH"
  plugins="erasure code dir = $lib/ceph/erasure-code
osd class dir = $lib/rados-classes
plugin dir = $lib/ceph
mgr module path = $p/usr/share/ceph/mgr"
fi
stop() {
  for pid in "$home"/*.pid; do [ -f "$pid" ] && kill -9 "$(cat "$pid")" 2>/dev/null || true; done
  rm -rf "$home"
}
trap stop EXIT INT TERM
cat > "$home/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v2:127.0.0.1:$((port + 1))
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
osd objectstore = bluestore
bluestore block size = 8589934592
run dir = $home
pid file = $home/\$name.pid
admin socket = $home/\$name.\$pid.asok
log file = $home/\$name.log
mon data = $home/mon
osd data = $home/osd
mgr data = $home/mgr
rgw data = $home
${plugins:-}
CONF
export CEPH_CONF="$home/ceph.conf"
mkdir "$home/osd" "$home/mgr"
monmaptool --create --addv a "[v2:127.0.0.1:$((port + 1))]" \
  --fsid "$(sed -n 's/^fsid = //p' "$CEPH_CONF")" "$home/monmap" > /dev/null
ceph-mon --mkfs -i a --monmap "$home/monmap"
ceph-mon -i a
ceph-mgr -i a > /dev/null
uuid=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$uuid" > /dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$uuid" > /dev/null 2>&1
ceph-osd -i 0 > /dev/null
radosgw-admin user create --uid=test --display-name=test \
  --access-key=test --secret-key=test > /dev/null 2>&1
radosgw -n client.admin --rgw-frontends="beast endpoint=127.0.0.1:$port" > /dev/null
until curl -s "http://127.0.0.1:$port" > /dev/null; do sleep 0.2; done
unset LD_LIBRARY_PATH PYTHONPATH
export TEST_S3_ENDPOINT="http://127.0.0.1:$port"
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
"$@"
