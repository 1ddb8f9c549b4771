#!/bin/sh
# One cluster node: run as the first process of its own pid, mount, uts and ipc
# namespaces, inside of a lab host's network namespace. $1 is the bench's directory,
# $2 the node's name. Whoever kills this process kills the node.
set -e
dir=$1 node=$2
hostname "$node"
mount --make-rprivate /
for d in /var/lib/pacemaker /var/lib/corosync /var/log/pacemaker /var/log/corosync; do
	rm -rf "$dir/$node$d"
	mkdir -p "$dir/$node${d%/*}"
	cp -a "$d" "$dir/$node$d" 2>/dev/null || mkdir -p "$dir/$node$d"
	find "$dir/$node$d" -type f -delete
	mount --bind "$dir/$node$d" "$d"
done
mount --bind "$dir/etc" /etc/corosync
mount --bind "$dir/agent.sh" /usr/lib/ocf/resource.d/pacemaker/Dummy
mount --bind "$dir/fence.sh" /usr/sbin/fence_dummy
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
mkdir -p /run/lock /run/crm /run/resource-agents
chown hacluster:haclient /run/crm
corosync -f &
until corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.05; done
pacemakerd &
wait
