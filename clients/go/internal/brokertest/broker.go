// Package brokertest runs real brokers for tests.
package brokertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit   = 60 * time.Second
	keptLogLines = 200
)

// Broker is "sluice serve" as a child process. Its address stays the same over restarts.
type Broker struct {
	// Address is host:port.
	Address string

	directory string
	args      []string
	process   *exec.Cmd
	exited    chan struct{}

	mu  sync.Mutex
	log []string
}

// Start makes a data directory and starts a broker on a free port.
func Start(args ...string) (*Broker, error) {
	directory, err := os.MkdirTemp("", "sluice-go-")
	if err != nil {
		return nil, err
	}
	b := &Broker{Address: "127.0.0.1:0", directory: directory, args: args}
	if err := b.start(); err != nil {
		_ = os.RemoveAll(directory)
		return nil, err
	}
	return b, nil
}

// Kill is kill -9. It returns when the process is gone.
func (b *Broker) Kill() {
	_ = b.process.Process.Kill() // One that has ended already is what is wanted.
	<-b.exited
}

// Restart kills the broker unless it is down, and starts it again on the same directory and address.
func (b *Broker) Restart() error {
	b.Kill()
	return b.start()
}

// Stop has the broker do nothing (SIGSTOP), while its connections stay open. Continue ends that.
func (b *Broker) Stop() error { return b.process.Process.Signal(syscall.SIGSTOP) }

// Continue lets a stopped broker go on.
func (b *Broker) Continue() error { return b.process.Process.Signal(syscall.SIGCONT) }

// Dispose kills the broker and removes its directory.
func (b *Broker) Dispose() {
	b.Kill()
	_ = os.RemoveAll(b.directory)
}

// Log is the end of what the broker logged.
func (b *Broker) Log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.log, "\n")
}

// Root is the folder of the repository.
func Root() (string, error) {
	directory, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "proto", "sluice")); err == nil {
			return directory, nil
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return "", errors.New("not inside the repository of Sluice")
		}
		directory = parent
	}
}

func (b *Broker) start() error {
	root, err := Root()
	if err != nil {
		return err
	}
	arguments := []string{
		"--initial-old-space-size=256", filepath.Join(root, "dist/src/cli/main.js"), "serve",
		"--listen", b.Address, "--data-dir", b.directory, "--log-format", "json",
	}
	process := exec.Command("node", append(arguments, b.args...)...)
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "SLUICE_") {
			process.Env = append(process.Env, pair)
		}
	}
	output, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	process.Stderr = process.Stdout
	endWithParent(process)
	if err := process.Start(); err != nil {
		return err
	}
	b.process, b.exited = process, make(chan struct{})
	serving := make(chan string, 1)
	go b.follow(process, output, serving, b.exited)
	select {
	case address := <-serving:
		b.Address = address
		return b.awaitPort()
	case <-b.exited:
		return fmt.Errorf("the broker ended before it served\n%s", b.Log())
	case <-time.After(startLimit):
		b.Kill()
		return fmt.Errorf("the broker does not serve after %v\n%s", startLimit, b.Log())
	}
}

func (b *Broker) follow(process *exec.Cmd, output io.Reader, serving chan<- string, exited chan struct{}) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		b.mu.Lock()
		b.log = append(b.log, lines.Text())
		b.log = b.log[max(0, len(b.log)-keptLogLines):]
		b.mu.Unlock()
		var entry struct{ Message, Address string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Message == "serving" {
			serving <- entry.Address
		}
	}
	_ = process.Wait() // How it ended does not matter: tests kill it.
	close(exited)
}

func (b *Broker) awaitPort() error {
	conn, err := net.DialTimeout("tcp", b.Address, startLimit)
	if err != nil {
		return err
	}
	return conn.Close()
}
