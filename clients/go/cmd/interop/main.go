// Command interop is the program of clients/interop/README.md: it produces and consumes the cases that all clients share,
// and measures this client.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	sluice "github.com/sluice-mq/sluice/clients/go"
)

const timedOut = 2

type options struct {
	server, topic, subscription, caseName, cases string
	messages, payloadBytes                       int
	rate, seconds, timeout                       float64
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(arguments []string) int {
	command, o := parse(arguments)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.timeout*float64(time.Second)))
	defer cancel()
	result, err := execute(ctx, command, o)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		fmt.Fprintf(os.Stderr, "not done after %v seconds: %v\n", o.timeout, err)
		return timedOut
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	line, err := json.Marshal(result)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(string(line))
	if checked, isChecked := result.(consumed); isChecked && checked.failed() {
		return 1
	}
	return 0
}

// parse takes the command from before the flags: "produce", "bench publish".
func parse(arguments []string) (string, *options) {
	var words []string
	for len(arguments) > 0 && !strings.HasPrefix(arguments[0], "-") {
		words, arguments = append(words, arguments[0]), arguments[1:]
	}
	o := &options{}
	flags := flag.NewFlagSet("interop", flag.ExitOnError)
	flags.StringVar(&o.server, "server", "", "host:port of the broker")
	flags.StringVar(&o.topic, "topic", "", "")
	flags.StringVar(&o.subscription, "subscription", "", "")
	flags.StringVar(&o.caseName, "case", "", "name of a case")
	flags.StringVar(&o.cases, "cases", defaultCases(), "where the cases are")
	flags.IntVar(&o.messages, "messages", 0, "")
	flags.IntVar(&o.payloadBytes, "payload-bytes", 100, "")
	flags.Float64Var(&o.rate, "rate", 1_000, "messages a second")
	flags.Float64Var(&o.seconds, "seconds", 10, "")
	flags.Float64Var(&o.timeout, "timeout", 120, "seconds")
	_ = flags.Parse(arguments) // It ends the program where that fails.
	return strings.Join(words, " "), o
}

func execute(ctx context.Context, command string, o *options) (any, error) {
	client, err := sluice.Connect(o.server)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	switch command {
	case "bench publish":
		return benchPublish(ctx, client, o.topic, o.messages, o.payloadBytes)
	case "bench consume":
		return benchConsume(ctx, client, o.topic, o.subscription, o.messages)
	case "bench latency":
		return benchLatency(ctx, client, o.topic, o.subscription, o.rate, o.seconds, o.payloadBytes)
	case "produce", "consume":
		messages, err := readCase(o.cases, o.caseName)
		if err != nil {
			return nil, err
		}
		if command == "produce" {
			return produce(ctx, client, o.topic, messages)
		}
		return consume(ctx, client, o.topic, o.subscription, messages)
	}
	return nil, fmt.Errorf("no command %q: see clients/interop/README.md", command)
}
