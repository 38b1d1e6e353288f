import { Admin as AdminService } from '../../gen/sluice/v1/admin_pb.js';
import type { DirectCall } from '../../transport/grpc/direct-call.js';
import type { ServiceHandlers } from './broker-service.js';
import { fromConsumer, fromMessageInfo, fromProducer, fromServerInfo } from './convert-inspection.js';
import { toPage } from './convert-page.js';
import { earliest, toStart } from './convert-start.js';
import { fromSubscription, toSubscription, toSubscriptionChange } from './convert-subscription.js';
import { fromTopic, toTopic, toTopicChange } from './convert-topic.js';
import { checkName, invalidField, toNumber } from './convert-values.js';
import type { Edge } from './edge.js';
import { RedriveCall } from './redrive.js';
import { unary } from './single-request.js';

/** The control plane. */
export function createAdminHandlers(edge: Edge): ServiceHandlers<typeof AdminService> {
  return { ...topicHandlers(edge), ...subscriptionHandlers(edge), ...inspectionHandlers(edge) };
}

const { method } = AdminService;

function topicHandlers({ broker }: Edge) {
  const maxPartitionCount = () => broker.serverInfo().maxPartitionCount;
  return {
    createTopic: unary(method.createTopic, async ({ topic }) => ({
      topic: fromTopic(await broker.createTopic(toTopic(topic, maxPartitionCount()))),
    })),
    getTopic: unary(method.getTopic, ({ name }) => ({
      topic: fromTopic(broker.getTopic(checkName(name, 'name'))),
    })),
    listTopics: unary(method.listTopics, (request) => {
      const { pageSize, pageToken } = toPage(request);
      const { items, nextPageToken } = broker.listTopics(pageSize, pageToken);
      return { topics: items.map(fromTopic), nextPageToken };
    }),
    updateTopic: unary(method.updateTopic, async (request) => {
      const { name, change } = toTopicChange(request, maxPartitionCount());
      return { topic: fromTopic(await broker.updateTopic(name, change)) };
    }),
    deleteTopic: unary(method.deleteTopic, async ({ name }) => {
      await broker.deleteTopic(checkName(name, 'name'));
      return {};
    }),
  };
}

function subscriptionHandlers({ broker }: Edge) {
  const currentOrdering = (topic: string, name: string) =>
    broker.getSubscription(topic, name).config.ordering;
  return {
    createSubscription: unary(method.createSubscription, async ({ subscription, start }) => {
      const config = toSubscription(subscription);
      const info = await broker.createSubscription(config, toStart(start, 'start') ?? earliest);
      return { subscription: fromSubscription(info) };
    }),
    getSubscription: unary(method.getSubscription, (request) => {
      const { topic, name } = checkedNames(request);
      return { subscription: fromSubscription(broker.getSubscription(topic, name)) };
    }),
    listSubscriptions: unary(method.listSubscriptions, (request) => {
      const { pageSize, pageToken } = toPage(request);
      if (request.topic !== '') checkName(request.topic, 'topic');
      const { items, nextPageToken } = broker.listSubscriptions(request.topic, pageSize, pageToken);
      return { subscriptions: items.map(fromSubscription), nextPageToken };
    }),
    updateSubscription: unary(method.updateSubscription, async (request) => {
      const { topic, name, change } = toSubscriptionChange(request, currentOrdering);
      return { subscription: fromSubscription(await broker.updateSubscription(topic, name, change)) };
    }),
    deleteSubscription: unary(method.deleteSubscription, async (request) => {
      const { topic, name } = checkedNames(request);
      await broker.deleteSubscription(topic, name);
      return {};
    }),
    seekSubscription: unary(method.seekSubscription, async (request) => {
      const { topic, name } = checkedNames(request);
      const position = toStart(request.position, 'position');
      if (position === undefined) throw invalidField('position', 'is missing');
      const info = await broker.seekSubscription(topic, name, request.partition, position);
      return { subscription: fromSubscription(info) };
    }),
  };
}

function inspectionHandlers(edge: Edge) {
  const { broker } = edge;
  return {
    listProducers: unary(method.listProducers, ({ topic }) => {
      if (topic !== '') checkName(topic, 'topic');
      return { producers: broker.listProducers(topic).map(fromProducer) };
    }),
    listConsumers: unary(method.listConsumers, ({ topic, subscription }) => {
      if (topic !== '') checkName(topic, 'topic');
      if (subscription !== '') checkName(subscription, 'subscription');
      return { consumers: broker.listConsumers(topic, subscription).map(fromConsumer) };
    }),
    getMessage: unary(method.getMessage, async ({ topic, partition, offset }) =>
      fromMessageInfo(
        await broker.getMessage(checkName(topic, 'topic'), partition, toNumber(offset, 'offset')),
      ),
    ),
    redriveDeadLetters: (call: DirectCall) => new RedriveCall(call, edge),
    getServerInfo: unary(method.getServerInfo, () => fromServerInfo(broker.serverInfo())),
  };
}

function checkedNames(request: { readonly topic: string; readonly name: string }) {
  return { topic: checkName(request.topic, 'topic'), name: checkName(request.name, 'name') };
}
