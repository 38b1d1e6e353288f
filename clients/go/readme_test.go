package sluice

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goRun runs a program of this module, and answers what it printed.
func goRun(t *testing.T, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(testContext(t), "go", append([]string{"run"}, arguments...)...)
	command.Stderr = os.Stderr
	output, err := command.Output()
	check(t, err)
	return string(output)
}

func TestFirstExampleOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	check(t, err)
	example := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindSubmatch(readme)
	if example == nil || !strings.Contains(string(example[1]), "127.0.0.1:7070") {
		t.Fatal("README.md has no example")
	}
	broker := ownBroker(t)
	// Below build, where the module is found.
	check(t, os.MkdirAll("build", 0o755))
	directory, err := os.MkdirTemp("build", "readme-")
	check(t, err)
	defer os.RemoveAll(directory)
	program := strings.ReplaceAll(string(example[1]), "127.0.0.1:7070", broker.Address)
	check(t, os.WriteFile(filepath.Join(directory, "main.go"), []byte(program), 0o644))
	printed := goRun(t, "./"+directory)
	equal(t, printed, "stored in partition 0 at offset 0\ntwo tickets\n", "what it printed")
}

func TestOrdersExample(t *testing.T) {
	printed := goRun(t, "./examples/orders", ownBroker(t).Address)
	for _, line := range []string{"30 orders are durable\n", "order 7 of ben fails, attempt 1\n", "29 orders were billed\n"} {
		if !strings.Contains(printed, line) {
			t.Errorf("%q is not in what it printed:\n%s", line, printed)
		}
	}
}
