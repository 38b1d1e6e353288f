import type { DescMethod } from '@bufbuild/protobuf';
import { limits } from '../../base/limits.js';
import { Admin as AdminService } from '../../gen/sluice/v1/admin_pb.js';
import { Broker as BrokerService } from '../../gen/sluice/v1/broker_pb.js';
import { type Api, methodsOf } from '../methods.js';
import { createAdminHandlers } from './admin-service.js';
import { createBrokerHandlers } from './broker-service.js';
import { fieldOf } from './error-fields.js';
import type { HandlerServices } from './handler-services.js';

/** The table of all methods of sluice.v1. */
export function createApi(services: HandlerServices): Api {
  const { maxRequestBytes } = services.scanLimits;
  const maxRequestBytesOf = (method: DescMethod) => longestRequest(method, maxRequestBytes);
  return {
    fieldOf,
    services: [BrokerService, AdminService],
    methods: [
      ...methodsOf(BrokerService, createBrokerHandlers(services), maxRequestBytesOf),
      ...methodsOf(AdminService, createAdminHandlers(services), maxRequestBytesOf),
    ],
  };
}

/** Of the methods that take one request, only settlements may be long: thousands of ranges, each with its reason. */
function longestRequest({ name, methodKind }: DescMethod, maxRequestBytes: number): number {
  const hasOneRequest = methodKind === 'unary' || methodKind === 'server_streaming';
  if (!hasOneRequest || name === 'Acknowledge') return maxRequestBytes;
  const isConfig = /^(Create|Update)(Topic|Subscription)$/.test(name);
  return isConfig ? limits.configRequestBytes : limits.smallRequestBytes;
}
