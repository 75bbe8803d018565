//go:build clients

package clients

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// screenshotPath is where the picture of the README comes from:
//
//	go test -tags clients -run TestWebPage ./tests/clients/ -screenshot ../../docs/web-example.png
var screenshotPath = flag.String("screenshot", "", "keep the picture of the page of examples/web in this file")

// TestWebPage has a browser, a pika program and an MQTT device talk to each
// other, and kills the broker between them: all three come back.
func TestWebPage(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatalf("%v: run make prepare as root, or install chromium", err)
	}
	web := filepath.Join(repository(), "examples", "web")
	driver := filepath.Join(repository(), "tests", "clients", "browser")
	for _, dir := range []string{web, driver} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
			t.Fatalf("%v: run make prepare", err)
		}
	}
	binary := broker.binary
	if binary == "" {
		t.Log("the broker under test is not ours to kill: a leveret is built")
		var err error
		if binary, err = buildLeveret(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	log, data := filepath.Join(t.TempDir(), "broker.log"), t.TempDir()
	addrs, err := freeAddrs(addrCount)
	if err != nil {
		t.Fatal(err)
	}
	b, err := startLeveretOn(binary, log, data, addrs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.kill() })

	interval, curve := "0.3", ""
	if *screenshotPath != "" {
		interval, curve = "0.1", "CURVE=1"
	}
	at := b.amqp.String()
	station := program{argv: []string{pythonPath(t), "station.py", "0"}, dir: web}.start(t, at)
	page := station.waitLine(`^station: the page is at (http://\S+)$`)[1]
	station.waitLine("^station: connected$")
	device := program{argv: []string{pythonPath(t), "device.py"}, dir: web}.
		with("MQTT_ADDR="+b.mqtt, "INTERVAL_S="+interval).start(t, at)
	device.waitLine("^device: connected$")

	picture := filepath.Join(t.TempDir(), "page.png")
	chromium := program{
		argv: []string{"node", "drive.js", page + "?broker=ws://" + b.webSTOMP + "/ws", picture},
		dir:  driver,
	}.with(fmt.Sprintf("PATIENCE_S=%.0f", patience.Seconds()), curve).start(t, at)
	chromium.waitLine("^broker may go$")
	b.kill()
	chromium.waitLine("^an order is kept$")
	if b, err = startLeveretOn(binary, log, data, addrs); err != nil {
		t.Fatal(err)
	}
	station.waitLine("^station: connected$")
	device.waitLine("^device: connected$")
	wantLines(t, chromium.finish(),
		"connected",
		"the page hears the device",
		"the station answers the page",
		"receipts",
		"the device hears the page",
		"the device hears the station",
		"screenshot",
		"broker may go",
		"lost",
		"an order is kept",
		"connected again",
		"the order arrived",
		"readings go on",
	)
	checkPicture(t, picture)
	if err := b.stop(); err != nil {
		t.Errorf("leveret after SIGTERM: %v\n%s", err, b.logTail(4<<10))
	}
	if err := b.checkLog(); err != nil {
		t.Error(err)
	}
}

// checkPicture wants a picture that shows something, and keeps it if asked to.
func checkPicture(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("the screenshot: %v", err)
	}
	colours := make(map[any]bool)
	size := img.Bounds()
	for y := size.Min.Y; y < size.Max.Y; y += 3 {
		for x := size.Min.X; x < size.Max.X; x += 3 {
			colours[img.At(x, y)] = true
		}
	}
	if size.Dx() < 600 || size.Dy() < 400 || len(colours) < 10 {
		t.Errorf("the screenshot is %v in %d colours: the page is not in it", size, len(colours))
	}
	if len(b) > 150<<10 {
		t.Errorf("the screenshot has %d bytes, too many for the README", len(b))
	}
	if *screenshotPath != "" {
		if err := os.WriteFile(*screenshotPath, b, 0o644); err != nil {
			t.Error(err)
		}
	}
}
