import { type Action, weights } from './actions.js';
import { Administration } from './administration.js';
import { Audit } from './audit.js';
import { Consuming } from './consuming.js';
import { Drain } from './drain.js';
import { Producing } from './producing.js';
import { Time } from './time.js';
import { World, type WorldOptions } from './world.js';

export interface SimulationOptions extends WorldOptions {
  readonly stepCount: number;
}

/** Starting a broker costs more than all steps of a run. */
const mostCrashes = 2;

type Step = Exclude<Action, 'crash'>;

/**
 * One run: a broker on its own store, driven by chance from a seed, and a reference model beside it that says what must
 * be true after every step.
 */
export class Simulation {
  readonly #stepCount: number;
  readonly #world: World;
  readonly #producing: Producing;
  readonly #consuming: Consuming;
  readonly #administration: Administration;
  readonly #time: Time;
  readonly #audit: Audit;
  readonly #drain: Drain;
  #crashCount = 0;

  constructor(options: SimulationOptions) {
    this.#stepCount = options.stepCount;
    this.#world = new World(options);
    this.#producing = new Producing(this.#world);
    this.#consuming = new Consuming(this.#world);
    this.#administration = new Administration(this.#world, this.#producing);
    this.#time = new Time(this.#world);
    this.#audit = new Audit(this.#world);
    this.#drain = new Drain(this.#world, this.#audit, this.#consuming, this.#time);
  }

  async run(): Promise<void> {
    await this.#world.host.start();
    await this.#setUp();
    for (let step = 0; step < this.#stepCount; step += 1) {
      await this.#step(this.#world.chance.weighted(weights));
    }
    await this.#drain.run();
  }

  /** Gives back threads and files, however the run ended. */
  async dispose(): Promise<void> {
    await this.#world.host.stop();
  }

  async #setUp(): Promise<void> {
    const { chance, draws, host } = this.#world;
    const names = ['orders', 'events', 'morgue'].slice(0, 2 + chance.below(2));
    for (const name of names) {
      this.#administration.createTopic(name);
      await this.#audit.quiesce();
      host.storage.answerRound();
      await this.#audit.quiesce();
      this.#consuming.openSession(draws.credit(), this.#world.subscriptionIds.at(-1));
      await this.#audit.quiesce();
    }
  }

  async #step(action: Action): Promise<void> {
    if (action === 'crash') {
      if (this.#crashCount < mostCrashes) await this.#crash();
      return;
    }
    this.#world.trace(`${this.#world.nowMs} ${action}`);
    this.#world.seek?.beginStep();
    this.#steps[action]();
    await this.#audit.quiesce();
  }

  readonly #steps: Readonly<Record<Step, () => void>> = {
    publish: () => this.#producing.publish(),
    startProcess: () => this.#producing.startProcess(),
    answerRound: () => this.#world.host.storage.answerRound(),
    answerCall: () => this.#answerCall(),
    send: () => this.#consuming.send(),
    settle: () => this.#consuming.settle(),
    advance: () => this.#time.advance(this.#world.chance.below(600)),
    openSession: () => this.#consuming.openSession(),
    closeSession: () => this.#consuming.closeSession(),
    setCredit: () => this.#consuming.changeCredit(),
    seek: () => this.#administration.beginSeek(),
    changePolicy: () => this.#administration.changePolicy(),
    growTopic: () => this.#administration.growTopic(),
    changeClock: () => this.#time.changeClock(),
    fillQueue: () => this.#fillQueue(),
    createSubscription: () => this.#administration.createSubscription(),
    deleteSubscription: () => this.#administration.deleteSubscription(),
    replaceTopic: () => this.#administration.replaceTopic(),
    redrive: () => this.#administration.redrive(),
  };

  #answerCall(): void {
    const { storage } = this.#world.host;
    const kind = storage.answerCall(this.#world.chance.below(storage.heldCallCount));
    this.#world.trace(`  ${kind ?? 'none'}`);
  }

  #fillQueue(): void {
    const { storage } = this.#world.host;
    storage.setRoom(!storage.hasRoom);
  }

  /**
   * Either between two steps, with everything on the disk that was submitted, answered or not; or in the middle of
   * a step, before anything of it is on the disk.
   */
  async #crash(): Promise<void> {
    const world = this.#world;
    this.#crashCount += 1;
    const isInStep = world.chance.oneIn(2);
    world.trace(`${world.nowMs} crash ${isInStep ? 'before' : 'after'} the commit`);
    const reference = world.reference.clone();
    if (isInStep) this.#takeAnyStep();
    if (isInStep) world.count('crashBeforeCommit');
    else if (world.host.storage.heldRoundCount > 0) world.count('crashBeforeAnswer');
    world.host.crash();
    world.crashed(reference);
    await world.host.removeCrashedStore();
    await world.host.start();
    world.restarted();
    await this.#audit.checkLogs();
    world.orphans = [];
    world.redrives = [];
    for (const producer of world.producers) producer.connect(world.host.broker);
    await this.#audit.quiesce();
  }

  /** Not `replaceTopic`: the run could not bring back the processes of the deleted topic. */
  #takeAnyStep(): void {
    const steps = (Object.keys(this.#steps) as Step[]).filter((step) => step !== 'replaceTopic');
    this.#steps[this.#world.chance.pick(steps)!]();
  }
}
