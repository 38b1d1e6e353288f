import type { Broker as BrokerService } from '../../gen/sluice/v1/broker_pb.js';
import type { ServiceHandlers } from '../methods.js';
import { ConsumeCall } from './consume.js';
import {
  fromCredit,
  fromSettleResult,
  toCredit,
  toLastDeliveryId,
  toSettlements,
} from './convert-session.js';
import { checkName, toNumber } from './convert-values.js';
import type { HandlerServices } from './handler-services.js';
import { PublishCall } from './publish.js';
import { PublishStreamCall } from './publish-stream.js';
import { ReadCall } from './read.js';
import { SubscribeCall } from './subscribe.js';

/** The data plane. */
export function createBrokerHandlers(services: HandlerServices): ServiceHandlers<typeof BrokerService> {
  const { broker } = services;
  return {
    publish: (call) => new PublishCall(call, services),
    publishStream: (call) => new PublishStreamCall(call, services),
    subscribe: (call) => new SubscribeCall(call, services),
    consume: (call) => new ConsumeCall(call, services),
    read: (call) => new ReadCall(call, services),

    acknowledge: async ({ sessionId, settlements, lastDeliveryId }) =>
      fromSettleResult(
        await broker.settle(sessionId, toSettlements(settlements), toLastDeliveryId(lastDeliveryId)),
      ),
    updateFlowControl: ({ sessionId, flowControl }) => ({
      flowControl: fromCredit(broker.setCredit(sessionId, toCredit(flowControl))),
    }),
    openProducer: async ({ topic, producerId, claimId, currentEpoch }) => {
      checkName(topic, 'topic');
      checkName(producerId, 'producer_id');
      const place = await broker.openProducer(topic, producerId, {
        claimId: toNumber(claimId, 'claim_id'),
        currentEpoch: currentEpoch === undefined ? undefined : toNumber(currentEpoch, 'current_epoch'),
      });
      return { epoch: BigInt(place.epoch), lastSequence: BigInt(place.lastSequence) };
    },
    getProducer: async ({ topic, producerId }) => {
      const state = await broker.getProducer(checkName(topic, 'topic'), checkName(producerId, 'producer_id'));
      return { epoch: BigInt(state.epoch), lastSequence: BigInt(state.lastSequence) };
    },
  };
}
