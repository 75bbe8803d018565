//go:build clients

package clients

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// celeryWorker starts a worker of the example application and waits until it
// takes tasks.
func celeryWorker(t *testing.T, url, name string, env ...string) *process {
	t.Helper()
	p := python(t, "-m", "celery", "-A", "celery_app.tasks", "worker",
		"--loglevel", "INFO", "--concurrency", "2", "--hostname", name)
	w := p.with(env...).start(t, url)
	w.waitLine(name + " ready")
	return w
}

func celeryDemo(t *testing.T, parts ...string) program {
	t.Helper()
	return python(t, "-m", append([]string{"celery_app.demo"}, parts...)...)
}

// TestCelery is one test and not one for each part: a worker takes seconds to
// start, and real applications use all of it over one worker too.
func TestCelery(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	worker := celeryWorker(t, url, "one@test")
	wantLines(t, celeryDemo(t).run(t, url),
		"add: 5",
		"twenty: 380",
		"progress: [1, 2, 3]",
		"fail: ValueError('on purpose')",
		"flaky: tried 4 times",
		"countdown: kept",
		"chain: 113",
		"group: [1, 2, 3, 4, 5]",
		"ping: ['pong']",
		"registered: True",
		"queues: ['celery']",
		"events: ['task-received', 'task-started', 'task-succeeded']")

	// A second worker finds the first and shares its tasks.
	second := celeryWorker(t, url, "two@test")
	wantLines(t, celeryDemo(t, "results").run(t, url), "add: 5", "twenty: 380", "progress: [1, 2, 3]")
	second.signal(syscall.SIGTERM)
	second.finish()
	worker.signal(syscall.SIGTERM)
	worker.finish()
}

func TestCeleryChord(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	results := filepath.Join(t.TempDir(), "results")
	if err := os.Mkdir(results, 0o700); err != nil {
		t.Fatal(err)
	}
	backend := "RESULT_BACKEND=file://" + results
	worker := celeryWorker(t, url, "chord@test", backend)
	wantLines(t, celeryDemo(t, "joined").with(backend).run(t, url), "chord: 90")
	worker.signal(syscall.SIGTERM)
	worker.finish()
}

// TestCeleryWorkerKilled kills a worker in the middle of a task that is acked
// late: another worker does it, and is told that it is not the first.
func TestCeleryWorkerKilled(t *testing.T) {
	t.Parallel()
	url := newVhost(t)
	first := celeryWorker(t, url, "first@test")
	demo := celeryDemo(t, "slow").start(t, url)
	first.waitLine(`Task celery_app.tasks.slow\[.*\] received`)
	if err := syscall.Kill(-first.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	celeryWorker(t, url, "second@test")
	demo.waitLine("^slow: done, redelivered True$")
	demo.finish()
}
