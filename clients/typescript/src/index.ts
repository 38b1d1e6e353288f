export type { BrokerAccess } from './broker-access.js';
export type { BidiStream, CallOptions, ClientStream, ServerStream, ServiceClient } from './calls.js';
export { Client, connect, type SluiceClient } from './client.js';
export type { ConnectionState } from './connection-states.js';
export { Consumer, type RunOptions } from './consumer/consumer.js';
export type { Delivery, Handler, NackOptions } from './consumer/delivery.js';
export type { ConsumerOptions, Start } from './consumer/options.js';
export {
  type BrokerReason,
  type ClientReason,
  type FieldViolation,
  type Reason,
  SluiceError,
  StatusCode,
} from './errors.js';
export type { ConnectOptions, MetadataValues, TlsOptions } from './options.js';
export type { Receipt } from './producer/batch.js';
export type { OutgoingMessage } from './producer/message.js';
export type { ProducerOptions } from './producer/options.js';
export { Producer } from './producer/producer.js';
