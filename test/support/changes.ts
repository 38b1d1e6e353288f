import type {
  Append,
  CatalogSubscription,
  CatalogTopic,
  Change,
  CursorUpdate,
  DeadLetterNote,
  DeadLetterRemoval,
  ProducerUpdate,
  RedriveUpdate,
} from '../../src/storage/types.js';

type Untagged<C> = Omit<C, 'kind'>;

/** The changes of a transaction by kind, which is how tests write and check them. */
export interface ChangeLists {
  readonly appends?: readonly Untagged<Append>[];
  readonly producers?: readonly Untagged<ProducerUpdate>[];
  readonly cursors?: readonly Untagged<CursorUpdate>[];
  readonly deadLetters?: readonly DeadLetterNote[];
  readonly removedDeadLetters?: readonly Untagged<DeadLetterRemoval>[];
  readonly redrives?: readonly Untagged<RedriveUpdate>[];
  readonly putTopics?: readonly CatalogTopic[];
  readonly deleteTopics?: readonly number[];
  readonly putSubscriptions?: readonly CatalogSubscription[];
  readonly deleteSubscriptions?: readonly number[];
}

export function changesOf(lists: ChangeLists): Change[] {
  return [
    ...(lists.putTopics ?? []).map((topic) => ({ ...topic, kind: 'topic' as const })),
    ...(lists.putSubscriptions ?? []).map((each) => ({ ...each, kind: 'subscription' as const })),
    ...(lists.appends ?? []).map((append) => ({ ...append, kind: 'append' as const })),
    ...(lists.producers ?? []).map((producer) => ({ ...producer, kind: 'producer' as const })),
    ...(lists.cursors ?? []).map((cursor) => ({ ...cursor, kind: 'cursor' as const })),
    ...(lists.removedDeadLetters ?? []).map((each) => ({ ...each, kind: 'remove-dead-letters' as const })),
    ...(lists.deadLetters ?? []).map((note) => ({ ...note, kind: 'dead-letter' as const })),
    ...(lists.redrives ?? []).map((redrive) => ({ ...redrive, kind: 'redrive' as const })),
    ...(lists.deleteTopics ?? []).map((topicId) => ({ topicId, kind: 'delete-topic' as const })),
    ...(lists.deleteSubscriptions ?? []).map((subscriptionId) => {
      return { subscriptionId, kind: 'delete-subscription' as const };
    }),
  ];
}

export function changesOfKind<K extends Change['kind']>(
  changes: readonly Change[] | undefined,
  kind: K,
): Extract<Change, { kind: K }>[] {
  return (changes ?? []).filter((change): change is Extract<Change, { kind: K }> => change.kind === kind);
}
