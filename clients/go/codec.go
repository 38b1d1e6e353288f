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

// rawFrame is an encoded response. The reader owns the bytes.
type rawFrame struct {
	bytes []byte
}

// passCodec passes the two types above unchanged, and is the usual codec for other types. Batches and runs of messages
// are encoded and decoded by hand, because an object for each message would be most of the work.
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
		// The transport owns the buffers, and uses them again.
		v.bytes = data.Materialize()
		return nil
	case proto.Message:
		return proto.Unmarshal(data.Materialize(), v)
	}
	return fmt.Errorf("sluice: can't decode a %T", v)
}
