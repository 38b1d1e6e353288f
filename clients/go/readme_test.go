package sluice

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The program of the README does what it says, as it stands there.
func TestTheProgramOfTheReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	check(t, err)
	_, rest, _ := strings.Cut(string(readme), "<!-- program:begin -->\n```go\n")
	program, _, isFound := strings.Cut(rest, "```\n<!-- program:end -->")
	if !isFound || !strings.Contains(program, "127.0.0.1:7070") {
		t.Fatal("the README has no program, or not for the default address")
	}
	program = strings.ReplaceAll(program, "127.0.0.1:7070", ownBroker(t).Address)
	directory := filepath.Join("build", "_readme") // Not a package for ./...
	check(t, os.MkdirAll(directory, 0o755))
	check(t, os.WriteFile(filepath.Join(directory, "main.go"), []byte(program), 0o644))
	want := "stored at offset 0 <nil>\nanna orders two tickets\ndone <nil>\n"
	equal(t, runProgram(t, "./"+directory), want, "output")
}

func TestTheExample(t *testing.T) {
	output := runProgram(t, "./example/orders", "-server", ownBroker(t).Address, "-orders", "10", "-every", "1ms")
	for _, want := range []string{
		"order 1 is stored in partition 0 at offset 0", "billed order 7 of ben (attempt 2)", "billed order 10",
	} {
		if !strings.Contains(output, want) {
			t.Errorf("nothing of %q in\n%s", want, output)
		}
	}
}

// runProgram gives all that it prints.
func runProgram(t *testing.T, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*testLimit)
	defer cancel()
	output, err := exec.CommandContext(ctx, "go", append([]string{"run", path}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, output)
	}
	return string(output)
}
