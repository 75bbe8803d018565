// Every page by the first segment of its URL; the rest is handed to it.

import type { ComponentType } from 'preact';
import { Audit } from './audit';
import { Bindings } from './bindings';
import { Client, Clients } from './clients';
import { Channel, Channels, Connection, Connections } from './connections';
import { Consumers, Subscriptions } from './consumers';
import { DeadLetters } from './deadletters';
import { Definitions } from './definitions';
import { Exchange } from './exchange';
import { Exchanges } from './exchanges';
import { Features } from './features';
import { Limits } from './limits';
import { VHostMap } from './map';
import { Moves } from './move';
import { Node } from './node';
import { Overview } from './overview';
import { Permissions } from './permissions';
import { Policies, Policy } from './policies';
import { Queue } from './queue';
import { Queues } from './queues';
import { Retained } from './retained';
import { RoutePage } from './route';
import { Shovel, Shovels } from './shovels';
import { TailPage } from './tail';
import { UserPage, Users } from './users';
import { VHost, VHosts } from './vhosts';

type Body = ComponentType<{ parts: string[] }>;

/** either shows a list, or the one object that further segments name. */
const either = (List: Body, One: Body): Body => ({ parts }) => (parts.length > 0 ? <One parts={parts} /> : <List parts={parts} />);

export const pages: Record<string, Body> = {
  overview: Overview,
  map: VHostMap,
  route: RoutePage,
  queues: either(Queues, Queue),
  exchanges: either(Exchanges, Exchange),
  bindings: Bindings,
  'dead-letters': DeadLetters,
  tail: TailPage,
  moves: Moves,
  connections: either(Connections, Connection),
  channels: either(Channels, Channel),
  consumers: Consumers,
  clients: either(Clients, Client),
  retained: Retained,
  subscriptions: Subscriptions,
  node: Node,
  nodes: Node,
  vhosts: either(VHosts, VHost),
  users: either(Users, UserPage),
  permissions: Permissions,
  policies: either(Policies, Policy),
  'operator-policies': either(Policies, Policy),
  limits: Limits,
  definitions: Definitions,
  shovels: either(Shovels, Shovel),
  audit: Audit,
  features: Features,
};
