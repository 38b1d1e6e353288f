// A producer and a consumer with grpc-go and nothing on top: see ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// raw passes encoded messages through.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

func field(number int, value []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(number<<3|2))
	return append(binary.AppendUvarint(out, uint64(len(value))), value...)
}

func number(number int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number<<3)), value)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("publish ADDRESS TOPIC REQUEST_BYTES COUNT, or consume ADDRESS TOPIC SUBSCRIPTION COUNT")
	}
	connection, err := grpc.NewClient(args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer connection.Close()
	count, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	open := func(method string) (grpc.ClientStream, error) {
		description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
		return connection.NewStream(context.Background(), description, "/sluice.v1.Broker/"+method)
	}
	if args[0] == "publish" {
		requestBytes, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		stream, err := open("PublishStream")
		if err != nil {
			return err
		}
		return publish(stream, args[2], requestBytes, count)
	}
	stream, err := open("Consume")
	if err != nil {
		return err
	}
	return consume(stream, args[2], args[3], count)
}

func publish(stream grpc.ClientStream, topic string, requestBytes, count int) error {
	var sent, receipts atomic.Int64
	var told sync.Mutex
	tell := func() {
		told.Lock()
		defer told.Unlock()
		fmt.Printf("{\"sent\": %d, \"receipts\": %d}\n", sent.Load(), receipts.Load())
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	go func() {
		last := int64(-1)
		for range ticker.C {
			if now := sent.Load() + receipts.Load(); now != last {
				last = now
				tell()
			}
		}
	}()
	failed := make(chan error, 1)
	go func() {
		for i := 1; i <= count; i++ {
			request := field(1, []byte(topic))
			request = append(request, number(4, uint64(i))...)
			request = append(request, field(15, field(2, make([]byte, requestBytes)))...)
			// Blocks while the broker does not read.
			if err := stream.SendMsg(&request); err != nil {
				failed <- err
				return
			}
			sent.Add(1)
		}
		failed <- stream.CloseSend()
	}()
	for {
		var response []byte
		err := stream.RecvMsg(&response)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		receipts.Add(1)
	}
	if err := <-failed; err != nil {
		return err
	}
	tell()
	return nil
}

func consume(stream grpc.ClientStream, topic, subscription string, count int) error {
	credit := append(number(1, 1_000_000), number(2, 1<<40)...)
	subscribe := append(field(1, []byte(topic)), field(2, []byte(subscription))...)
	request := field(1, append(subscribe, field(4, credit)...))
	if err := stream.SendMsg(&request); err != nil {
		return err
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	received := 0
	for received < count {
		var response []byte
		if err := stream.RecvMsg(&response); err != nil {
			return err
		}
		received += len(response)
	}
	fmt.Printf("{\"received\": %d}\n", received)
	return nil
}
