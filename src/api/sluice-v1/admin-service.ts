import type { Admin as AdminService } from '../../gen/sluice/v1/admin_pb.js';
import type { ServiceHandlers } from '../methods.js';
import { fromConsumer, fromMessageInfo, fromProducer, fromServerInfo } from './convert-inspection.js';
import { earliest, toStart } from './convert-start.js';
import { fromSubscription, toSubscription, toSubscriptionChange } from './convert-subscription.js';
import { fromTopic, toTopic, toTopicChange } from './convert-topic.js';
import { checkName, checkTopicName, invalidField, toNumber } from './convert-values.js';
import type { HandlerServices } from './handler-services.js';
import { RedriveCall } from './redrive.js';

/** The control plane. */
export function createAdminHandlers(services: HandlerServices): Handlers {
  return { ...topicHandlers(services), ...subscriptionHandlers(services), ...inspectionHandlers(services) };
}

type Handlers = ServiceHandlers<typeof AdminService>;

function topicHandlers({ broker }: HandlerServices) {
  return {
    createTopic: async ({ topic }) => ({
      topic: fromTopic(await broker.createTopic(toTopic(topic))),
    }),
    getTopic: ({ name }) => ({
      topic: fromTopic(broker.getTopic(checkTopicName(name, 'name'))),
    }),
    listTopics: ({ pageSize, pageToken }) => {
      const { items, nextPageToken } = broker.listTopics(pageSize, pageToken);
      return { topics: items.map(fromTopic), nextPageToken };
    },
    updateTopic: async (request) => {
      const { name, change } = toTopicChange(request);
      return { topic: fromTopic(await broker.updateTopic(name, change)) };
    },
    deleteTopic: async ({ name }) => {
      await broker.deleteTopic(checkTopicName(name, 'name'));
      return {};
    },
  } satisfies Partial<Handlers>;
}

function subscriptionHandlers({ broker }: HandlerServices) {
  const currentOrdering = (topic: string, name: string) =>
    broker.getSubscription(topic, name).config.ordering;
  return {
    createSubscription: async ({ subscription, start }) => {
      const config = toSubscription(subscription);
      const info = await broker.createSubscription(config, toStart(start, 'start') ?? earliest);
      return { subscription: fromSubscription(info) };
    },
    getSubscription: (request) => {
      const { topic, name } = checkedNames(request);
      return { subscription: fromSubscription(broker.getSubscription(topic, name)) };
    },
    listSubscriptions: ({ topic, pageSize, pageToken }) => {
      if (topic !== '') checkTopicName(topic, 'topic');
      const { items, nextPageToken } = broker.listSubscriptions(topic, pageSize, pageToken);
      return { subscriptions: items.map(fromSubscription), nextPageToken };
    },
    updateSubscription: async (request) => {
      const { topic, name, change } = toSubscriptionChange(request, currentOrdering);
      return { subscription: fromSubscription(await broker.updateSubscription(topic, name, change)) };
    },
    deleteSubscription: async (request) => {
      const { topic, name } = checkedNames(request);
      await broker.deleteSubscription(topic, name);
      return {};
    },
    seekSubscription: async (request) => {
      const { topic, name } = checkedNames(request);
      const position = toStart(request.position, 'position');
      if (position === undefined) throw invalidField('position', 'is missing');
      const info = await broker.seekSubscription(topic, name, request.partition, position);
      return { subscription: fromSubscription(info) };
    },
  } satisfies Partial<Handlers>;
}

function inspectionHandlers(services: HandlerServices) {
  const { broker } = services;
  return {
    listProducers: ({ topic }) => {
      if (topic !== '') checkTopicName(topic, 'topic');
      return { producers: broker.listProducers(topic).map(fromProducer) };
    },
    listConsumers: ({ topic, subscription }) => {
      if (topic !== '') checkTopicName(topic, 'topic');
      if (subscription !== '') checkName(subscription, 'subscription');
      return { consumers: broker.listConsumers(topic, subscription).map(fromConsumer) };
    },
    getMessage: async ({ topic, partition, offset }) =>
      fromMessageInfo(
        await broker.getMessage(checkTopicName(topic, 'topic'), partition, toNumber(offset, 'offset')),
      ),
    redriveDeadLetters: (call) => new RedriveCall(call, services),
    getServerInfo: () => fromServerInfo(broker.serverInfo()),
  } satisfies Partial<Handlers>;
}

function checkedNames(request: { readonly topic: string; readonly name: string }) {
  return { topic: checkName(request.topic, 'topic'), name: checkName(request.name, 'name') };
}
