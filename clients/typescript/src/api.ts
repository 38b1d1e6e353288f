/** The code generated from proto/: message types, their schemas, services. */
export * from './gen/google/rpc/error_details_pb.js';
export * from './gen/google/rpc/status_pb.js';
export * from './gen/sluice/v1/admin_pb.js';
export * from './gen/sluice/v1/broker_pb.js';
export * from './gen/sluice/v1/error_reason_pb.js';
export * from './gen/sluice/v1/message_pb.js';
