export type { BidiStream, CallOptions, ClientStream, ServerStream, ServiceClient } from './calls.js';
export { connect, type SluiceClient } from './client.js';
export { type FieldViolation, SluiceError, StatusCode } from './errors.js';
export type { ConnectOptions, TlsOptions } from './options.js';
export type { Receipt } from './producer/batch.js';
export type { OutgoingMessage } from './producer/message.js';
export type { ProducerOptions } from './producer/options.js';
export { Producer } from './producer/producer.js';
