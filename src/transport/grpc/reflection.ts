import { type DescFile, type DescService, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { service as healthService } from 'grpc-health-check';
import { file_google_rpc_error_details } from '../../gen/google/rpc/error_details_pb.js';
import { file_google_rpc_status } from '../../gen/google/rpc/status_pb.js';

type PackageDefinition = ConstructorParameters<typeof ReflectionService>[0];

/** Describes the error model too: with it, grpcurl shows the details of an error as text. */
const errorModel = [file_google_rpc_status, file_google_rpc_error_details];

/** The standard reflection services, v1 and v1alpha, for grpcurl, `buf curl` and other tools. */
export function addReflection(server: Server, services: readonly DescService[]): void {
  const roots = [...services.map(({ file }) => file), ...errorModel];
  const ours = [...withImports(roots)].map((file) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
  const healths = Object.values(healthService)
    .flatMap((method) => method.requestType.fileDescriptorProtos)
    .map(nameMapEntries);
  const fileDescriptorProtos = [...ours, ...healths];
  // The API expects the result of proto-loader, but reads only the descriptors.
  const loaded = { files: { fileDescriptorProtos } } as unknown as PackageDefinition;
  new ReflectionService(loaded).addToServer(server);
}

function withImports(files: Iterable<DescFile>, found = new Set<DescFile>()): Set<DescFile> {
  for (const file of files) {
    if (found.has(file)) continue;
    found.add(file);
    withImports(file.dependencies, found);
  }
  return found;
}

/**
 * proto-loader names the entries of a map after the field. Descriptors need the suffix `Entry`: tools refuse the
 * file without it.
 */
function nameMapEntries(encoded: Uint8Array): Buffer {
  const file = fromBinary(FileDescriptorProtoSchema, encoded);
  for (const message of file.messageType) {
    for (const entry of message.nestedType) {
      if (entry.options?.mapEntry !== true || entry.name.endsWith('Entry')) continue;
      const name = `${entry.name}Entry`;
      for (const field of message.field) if (field.typeName === entry.name) field.typeName = name;
      entry.name = name;
    }
  }
  return Buffer.from(toBinary(FileDescriptorProtoSchema, file));
}
