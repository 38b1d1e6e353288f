/**
 * The field numbers of an encoded message, in `proto/sluice/v1/message.proto`. A tag is a field number and a wire
 * type: all of these fit in one byte. No other folder names the fields of a message by number.
 */

/** `messages` of each request and of MessageRun. Its tag takes exactly one byte: the store relies on it. */
export const messagesField = 15;
export const messagesTag = 0x7a;

/** Fields of `sluice.v1.Message`. */
export const keyField = 1;
export const keyTag = 0x0a;
export const payloadTag = 0x12;
export const headersField = 3;
export const headersTag = 0x1a;
export const eventTimeTag = 0x22;
export const lastMessageField = 4;

/**
 * Fields up to this one are reserved for the broker. It does not store unknown ones, because it would deliver the
 * message without doing what they say. Other unknown fields mean nothing to any broker, and are kept.
 */
export const lastBrokerField = 15;

/**
 * A field of `sluice.v1.Message` that only the broker writes; the API reserves it. It holds the id of the
 * subscription that dead-lettered the message: names are reused, ids never are. It is not a header, because an id
 * means nothing to a consumer. A producer may write the field, but it counts only beside the dead-letter headers,
 * which a producer can't write, and the broker appends its own value behind any other.
 */
export const deadLetterSubscriptionIdField = 1000;

/** Fields of an entry of `headers`. */
export const headerNameField = 1;
export const headerNameTag = 0x0a;
export const headerValueField = 2;
export const headerValueTag = 0x12;
export const lastHeaderField = 2;

/** Fields of google.protobuf.Timestamp. */
export const secondsTag = 0x08;
export const nanosTag = 0x10;
export const lastTimestampField = 2;
