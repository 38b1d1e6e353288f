/** What a run is there for: many runs together must have seen all of it. */
export const simulationEvents = [
  'delivery',
  'redelivery',
  'staleSettlement',
  'expiry',
  'deadLetter',
  'removal',
  'drop',
  'seek',
  'crashBeforeCommit',
  'crashBeforeAnswer',
  'duplicate',
  'refusal',
  'fenced',
  'topicDeletion',
  'redrive',
  'repeatedClaim',
] as const;

export type SimulationEvent = (typeof simulationEvents)[number];

/** How often a step does what, relative to the others. */
export const weights = {
  publish: 20,
  startProcess: 1.5,
  answerRound: 45,
  answerCall: 20,
  send: 20,
  settle: 25,
  advance: 12,
  openSession: 5,
  closeSession: 2,
  setCredit: 3,
  seek: 2,
  changePolicy: 2,
  growTopic: 1,
  changeClock: 1,
  fillQueue: 1,
  createSubscription: 1,
  deleteSubscription: 0.5,
  replaceTopic: 0.4,
  redrive: 4,
  crash: 1.2,
} as const;

export type Action = keyof typeof weights;
