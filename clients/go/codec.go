package sluice

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// encoded is a request that was encoded by hand, in parts that are sent as they are.
type encoded struct {
	parts mem.BufferSlice
}

// rawFrame is a response that is left encoded: who reads it owns the bytes.
type rawFrame struct {
	bytes []byte
}

// passCodec lets the two types above through, and is the usual codec for everything else: batches and runs of messages
// are written and read by hand, because making an object of each message twice is most of the work otherwise.
type passCodec struct{}

var passThrough = grpc.ForceCodecV2(passCodec{})

func (passCodec) Name() string { return "proto" }

func (passCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *encoded:
		return v.parts, nil
	case proto.Message:
		bytes, err := proto.Marshal(v)
		return mem.BufferSlice{mem.SliceBuffer(bytes)}, err
	}
	return nil, fmt.Errorf("sluice: can't encode a %T", v)
}

func (passCodec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *rawFrame:
		// The buffers are the transport's, and used again.
		v.bytes = data.Materialize()
		return nil
	case proto.Message:
		return proto.Unmarshal(data.Materialize(), v)
	}
	return fmt.Errorf("sluice: can't decode a %T", v)
}
