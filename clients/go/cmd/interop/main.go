// Command interop is the Go program of clients/interop/README.md: it produces and consumes the cases that all clients
// share, and measures this one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

const (
	exitFailed   = 1
	exitTimedOut = 2
)

// options are those of all commands.
type options struct {
	server, topic, subscription string
	caseName, casesPath         string
	messages, payloadBytes      int
	rate, seconds, warmup       float64
	timeout                     float64
}

// command does one thing and says what it prints.
type command func(ctx context.Context, client *sluice.Client, o *options) (result any, err error)

var commands = map[string]command{
	"produce":       produce,
	"consume":       consume,
	"bench publish": benchPublish,
	"bench consume": benchConsume,
	"bench latency": benchLatency,
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	name, rest := commandOf(args)
	do, ok := commands[name]
	if !ok {
		log.Printf("no such command: %q; there are produce, consume, bench publish, bench consume, bench latency", name)
		return exitFailed
	}
	o, err := parse(name, rest)
	if err != nil {
		return exitFailed
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.timeout*float64(time.Second)))
	defer cancel()
	result, err := connectAndDo(ctx, o, do)
	switch {
	case ctx.Err() != nil:
		log.Printf("not done after %v s", o.timeout)
		return exitTimedOut
	case err != nil:
		log.Print(err)
		return exitFailed
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Print(err)
		return exitFailed
	}
	if checked, ok := result.(*consumed); ok && len(checked.Problems) > 0 {
		return exitFailed
	}
	return 0
}

func commandOf(args []string) (name string, rest []string) {
	switch {
	case len(args) == 0:
		return "", nil
	case args[0] == "bench" && len(args) > 1:
		return "bench " + args[1], args[2:]
	}
	return args[0], args[1:]
}

func parse(name string, args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&o.server, "server", "", "host:port of the broker")
	flags.StringVar(&o.topic, "topic", "", "topic")
	flags.StringVar(&o.subscription, "subscription", "", "subscription")
	flags.StringVar(&o.caseName, "case", "", "name of a case")
	flags.StringVar(&o.casesPath, "cases", defaultCasesPath(), "file of the cases")
	flags.IntVar(&o.messages, "messages", 1_000_000, "messages to send or to handle")
	flags.IntVar(&o.payloadBytes, "payload-bytes", 100, "bytes of each payload")
	flags.Float64Var(&o.rate, "rate", 1000, "messages a second")
	flags.Float64Var(&o.seconds, "seconds", 10, "how long to send")
	flags.Float64Var(&o.warmup, "warmup", 0, "seconds before that, which do not count")
	flags.Float64Var(&o.timeout, "timeout", 120, "seconds after which the program gives up, with exit code 2")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if o.server == "" || o.topic == "" {
		log.Print("--server and --topic are needed")
		return nil, errors.New("incomplete")
	}
	return o, nil
}

// defaultCasesPath is found from the program's own place, clients/go/build.
func defaultCasesPath() string {
	program, err := os.Executable()
	if err != nil {
		return "cases.json"
	}
	return filepath.Join(filepath.Dir(program), "../../interop/cases.json")
}

func connectAndDo(ctx context.Context, o *options, do command) (result any, err error) {
	client, err := sluice.Connect(o.server)
	if err != nil {
		return nil, fmt.Errorf("can't connect: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return do(ctx, client, o)
}
