import type { DescService } from '@bufbuild/protobuf';
import { Broker as BrokerService } from '../../gen/sluice/v1/broker_pb.js';
import type { OpenCall } from '../../transport/grpc/direct-call.js';
import { ConsumeCall } from './consume.js';
import {
  fromCredit,
  fromSettleResult,
  toCredit,
  toLastDeliveryId,
  toSettlements,
} from './convert-session.js';
import { checkName, toNumber } from './convert-values.js';
import type { Edge } from './edge.js';
import { PublishCall } from './publish.js';
import { PublishStreamCall } from './publish-stream.js';
import { ReadCall } from './read.js';
import { unary } from './single-request.js';
import { SubscribeCall } from './subscribe.js';

/** A handler for every method of a service. */
export type ServiceHandlers<S extends DescService> = { readonly [M in keyof S['method']]: OpenCall };

/** The data plane. */
export function createBrokerHandlers(edge: Edge): ServiceHandlers<typeof BrokerService> {
  const { broker } = edge;
  const { method } = BrokerService;
  return {
    publish: (call) => new PublishCall(call, edge),
    publishStream: (call) => new PublishStreamCall(call, edge),
    subscribe: (call) => new SubscribeCall(call, edge),
    consume: (call) => new ConsumeCall(call, edge),
    read: (call) => new ReadCall(call, edge),

    acknowledge: unary(method.acknowledge, async ({ sessionId, settlements, lastDeliveryId }) =>
      fromSettleResult(
        await broker.settle(sessionId, toSettlements(settlements), toLastDeliveryId(lastDeliveryId)),
      ),
    ),
    updateFlowControl: unary(method.updateFlowControl, ({ sessionId, flowControl }) => ({
      flowControl: fromCredit(broker.setCredit(sessionId, toCredit(flowControl))),
    })),
    openProducer: unary(method.openProducer, async ({ topic, producerId, claimId, currentEpoch }) => {
      checkName(topic, 'topic');
      checkName(producerId, 'producer_id');
      const place = await broker.openProducer(topic, producerId, {
        claimId: toNumber(claimId, 'claim_id'),
        currentEpoch: currentEpoch === undefined ? undefined : toNumber(currentEpoch, 'current_epoch'),
      });
      return { epoch: BigInt(place.epoch), lastSequence: BigInt(place.lastSequence) };
    }),
    getProducer: unary(method.getProducer, async ({ topic, producerId }) => {
      const state = await broker.getProducer(checkName(topic, 'topic'), checkName(producerId, 'producer_id'));
      return { epoch: BigInt(state.epoch), lastSequence: BigInt(state.lastSequence) };
    }),
  };
}
