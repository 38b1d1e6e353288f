import { SluiceError } from '../../base/errors.js';
import { type DeadLetterRoute, deadLetterTopicName } from './dead-letter-topic.js';

export interface DeadLetterRoutes {
  /**
   * The subscriptions of a topic; none for a topic that does not exist. Subscriptions with disabled dead letters
   * count too: a consumer can still dead-letter a message by hand.
   */
  routesOf(topicName: string): Iterable<DeadLetterRoute>;
}

/**
 * The topics on the way from a subscription's topic, over dead-letter topics, back to the same topic, which is the
 * first and the last entry. Undefined if there is no way back. Topics are compared by name: a cycle over topics
 * that do not exist yet is found when the subscription that closes the cycle is created.
 */
export function deadLetterCycle(
  route: DeadLetterRoute,
  routes: DeadLetterRoutes,
): readonly string[] | undefined {
  const target = deadLetterTopicName(route);
  /** By topic: the topic whose dead letters go to it. */
  const cameFrom = new Map([[target, route.topic]]);
  const pending = [target];
  for (let topic = pending.pop(); topic !== undefined; topic = pending.pop()) {
    if (topic === route.topic) return wayTo(topic, cameFrom);
    for (const next of routes.routesOf(topic)) {
      const name = deadLetterTopicName(next);
      if (cameFrom.has(name)) continue;
      cameFrom.set(name, topic);
      pending.push(name);
    }
  }
  return undefined;
}

function wayTo(end: string, cameFrom: ReadonlyMap<string, string>): string[] {
  const way = [end];
  for (let topic = cameFrom.get(end)!; topic !== end; topic = cameFrom.get(topic)!) way.push(topic);
  return [...way, end].reverse();
}

/** Throws INVALID_FIELD if the topic is its own dead-letter topic, DEAD_LETTER_CYCLE for a longer cycle. */
export function checkNoDeadLetterCycle(route: DeadLetterRoute, routes: DeadLetterRoutes): void {
  const cycle = deadLetterCycle(route, routes);
  if (cycle === undefined) return;
  const { topic, name } = route;
  if (cycle.length === 2) {
    throw new SluiceError('INVALID_FIELD', `topic "${topic}" can't be its own dead-letter topic`, {
      subject: 'deadLetterTopic',
      metadata: { topic, subscription: name },
    });
  }
  throw new SluiceError(
    'DEAD_LETTER_CYCLE',
    `dead letters of subscription "${name}" of topic "${topic}" would come back to it: ${formatCycle(cycle)}; choose another dead-letter topic`,
    { subject: 'deadLetterTopic', metadata: { topic, subscription: name } },
  );
}

/** The names of the topics; of a long cycle, only the first ones. */
export function formatCycle(cycle: readonly string[]): string {
  const names = cycle.map((each) => `"${each}"`);
  const last = names.at(-1)!;
  const shown = names.length > maxShownTopics ? [...names.slice(0, maxShownTopics - 1), '…', last] : names;
  return shown.join(' → ');
}

const maxShownTopics = 5;

/**
 * The subscriptions whose dead letters come back to their own topic: topic and dead-letter topic are strongly
 * connected (Kosaraju's algorithm). The time is linear in the number of subscriptions.
 */
export function routesInCycles<R extends DeadLetterRoute>(routes: Iterable<R>): Set<R> {
  const all = [...routes];
  const fromTopic = groupedBy(all, ({ topic }) => topic);
  const toTopic = groupedBy(all, deadLetterTopicName);
  const finished: string[] = [];
  const seen = new Set<string>();
  for (const start of fromTopic.keys()) {
    walk(start, seen, (topic) => (fromTopic.get(topic) ?? []).map(deadLetterTopicName), finished);
  }
  const componentOf = new Map<string, string>();
  const assigned = new Set<string>();
  for (const start of finished.reverse()) {
    const component: string[] = [];
    walk(start, assigned, (topic) => (toTopic.get(topic) ?? []).map(({ topic: from }) => from), component);
    for (const topic of component) componentOf.set(topic, start);
  }
  const isInCycle = (route: R) =>
    componentOf.get(route.topic) === componentOf.get(deadLetterTopicName(route));
  return new Set(all.filter(isInCycle));
}

/**
 * Visits every reachable topic that is not seen yet, depth first. Adds a topic to `finished` after every topic
 * that it leads to.
 */
function walk(
  start: string,
  seen: Set<string>,
  nextOf: (topic: string) => string[],
  finished: string[],
): void {
  if (seen.has(start)) return;
  seen.add(start);
  const path = [{ topic: start, left: nextOf(start) }];
  for (let at = path.at(-1); at !== undefined; at = path.at(-1)) {
    const next = at.left.pop();
    if (next === undefined) {
      finished.push(at.topic);
      path.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      path.push({ topic: next, left: nextOf(next) });
    }
  }
}

function groupedBy<R>(items: readonly R[], keyOf: (item: R) => string): Map<string, R[]> {
  const groups = new Map<string, R[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
