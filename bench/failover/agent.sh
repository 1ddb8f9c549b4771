#!/bin/sh
# OCF resource agent of one virtual machine on a LUN. @DIR@ and @ARGV@ are filled in.
pid=/run/vm.pid
alive() { [ -s $pid ] && kill -0 "$(cat $pid)" 2>/dev/null; }
case "$1" in
meta-data)
	cat <<XML
<?xml version="1.0"?>
<resource-agent name="Dummy" version="1.0"><version>1.0</version><longdesc lang="en">vm</longdesc><shortdesc lang="en">vm</shortdesc><parameters/>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s" depth="0"/><action name="meta-data" timeout="5s"/><action name="validate-all" timeout="5s"/></actions></resource-agent>
XML
	;;
start)
	alive && exit 0
	epoch=$(($(cat @DIR@/epoch) + 1))
	echo $epoch >@DIR@/epoch
	setsid @ARGV@ >/dev/null 2>&1 </dev/null &
	echo $! >$pid
	alive || exit 1
	;;
stop)
	alive && kill -9 "$(cat $pid)"
	rm -f $pid
	;;
monitor | status) alive || exit 7 ;;
validate-all) ;;
*) exit 3 ;;
esac
exit 0
