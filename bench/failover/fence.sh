#!/bin/sh
# Fence agent: asks the power device outside of all namespaces, through a directory.
# @DIR@ is filled in.
action= plug=
while IFS='=' read -r name value; do
	case "$name" in action) action=$value ;; plug | port | nodename) plug=$value ;; esac
done
case "$action" in
metadata)
	cat <<XML
<?xml version="1.0"?>
<resource-agent name="fence_dummy" shortdesc="lab"><longdesc>lab</longdesc><vendor-url>none</vendor-url>
<parameters><parameter name="action" unique="0" required="1"><content type="string" default="off"/><shortdesc lang="en">action</shortdesc></parameter>
<parameter name="plug" unique="0" required="0"><content type="string"/><shortdesc lang="en">plug</shortdesc></parameter></parameters>
<actions><action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="list"/><action name="metadata"/></actions></resource-agent>
XML
	exit 0
	;;
monitor | list | on) exit 0 ;;
status) exit 0 ;;
off | reboot)
	ask=@DIR@/bmc/$(hostname).$$
	echo "$plug" >"$ask.tmp"
	mv "$ask.tmp" "$ask.ask"
	for _ in $(seq 1000); do
		[ -e "$ask.done" ] && exit 0
		sleep 0.01
	done
	exit 1
	;;
esac
exit 1
