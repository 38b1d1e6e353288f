import { limits } from '../../base/limits.js';
import { Admin as AdminService } from '../../gen/sluice/v1/admin_pb.js';
import { Broker as BrokerService } from '../../gen/sluice/v1/broker_pb.js';
import { type Api, type MethodFacts, methodsOf, type ServiceFacts } from '../methods.js';
import { createAdminHandlers } from './admin-service.js';
import { createBrokerHandlers } from './broker-service.js';
import { fieldOf } from './error-fields.js';
import type { HandlerServices } from './handler-services.js';

/** The table of all methods of sluice.v1. */
export function createApi(services: HandlerServices): Api {
  const { maxRequestBytes } = services.scanLimits;
  return {
    fieldOf,
    services: [BrokerService, AdminService],
    methods: [
      ...methodsOf(BrokerService, createBrokerHandlers(services), brokerFacts(maxRequestBytes)),
      ...methodsOf(AdminService, createAdminHandlers(services), adminFacts),
    ],
  };
}

const lookup: MethodFacts = { maxRequestBytes: limits.smallRequestBytes, isLookup: true };
const smallRequest: MethodFacts = { maxRequestBytes: limits.smallRequestBytes, isLookup: false };
const configRequest: MethodFacts = { maxRequestBytes: limits.configRequestBytes, isLookup: false };

function brokerFacts(maxRequestBytes: number): ServiceFacts<typeof BrokerService> {
  const longRequest: MethodFacts = { maxRequestBytes, isLookup: false };
  return {
    publish: longRequest,
    publishStream: longRequest,
    subscribe: smallRequest,
    // Thousands of ranges, each with its reason.
    acknowledge: longRequest,
    updateFlowControl: smallRequest,
    consume: longRequest,
    read: smallRequest,
    openProducer: smallRequest,
    getProducer: lookup,
  };
}

const adminFacts: ServiceFacts<typeof AdminService> = {
  createTopic: configRequest,
  getTopic: lookup,
  listTopics: lookup,
  updateTopic: configRequest,
  deleteTopic: smallRequest,
  createSubscription: configRequest,
  getSubscription: lookup,
  listSubscriptions: lookup,
  updateSubscription: configRequest,
  deleteSubscription: smallRequest,
  seekSubscription: smallRequest,
  listProducers: lookup,
  listConsumers: lookup,
  getMessage: lookup,
  redriveDeadLetters: smallRequest,
  getServerInfo: lookup,
};
