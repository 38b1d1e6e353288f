import type { SluiceClient } from '@sluice/client';

export interface Outgoing {
  readonly text: string;
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Publishes messages in one request; resolves with the receipt when they are durable. */
export async function publish(
  client: SluiceClient,
  topic: string,
  messages: readonly (Outgoing | string)[],
  partition?: number,
) {
  const call = client.broker.publish();
  const request = {
    topic,
    ...(partition !== undefined && { partition }),
    messages: messages.map((each) => {
      const { text, key, headers } = typeof each === 'string' ? { text: each } : (each as Outgoing);
      return {
        payload: Buffer.from(text),
        ...(key !== undefined && { key: Buffer.from(key) }),
        ...(headers !== undefined && { headers: { ...headers } }),
      };
    }),
  };
  // A call that is refused at once ends the writing too; its result says why.
  await call.write(request).catch(() => {});
  call.end();
  return call.result;
}

/** `prefix-0`, `prefix-1`, ... */
export function texts(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}
