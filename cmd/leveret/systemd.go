package main

import (
	"net"
	"os"
	"time"
)

// systemd tells the service manager something, as sd_notify(3) does: one
// datagram to the socket that the environment names. Without one, or if it is
// deaf, nothing happens; who is not a service need not care.
func systemd(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	if name[0] == '@' { // An abstract socket.
		name = "\x00" + name[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	c.Write([]byte(state))
}
