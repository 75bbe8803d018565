// The pages there are, as the navigation and the palette list them.

import { href, vhost } from '../lib/router';
import { isAdministrator, isMonitor, isPolicymaker } from '../lib/session';
import type { IconName } from './icons';

export interface Entry {
  page: string;
  name: string;
  icon: IconName;
  /** Lists of one virtual host or all keep the choice when one goes from one to the next. */
  scoped?: boolean;
  may?: () => boolean;
}

export const groups: [string, Entry[]][] = [
  ['', [
    { page: 'overview', name: 'Overview', icon: 'overview', scoped: true },
    { page: 'map', name: 'Map', icon: 'map', scoped: true },
    { page: 'route', name: 'Where would this go?', icon: 'route', scoped: true },
  ]],
  ['Messages', [
    { page: 'queues', name: 'Queues & streams', icon: 'queue', scoped: true },
    { page: 'exchanges', name: 'Exchanges', icon: 'exchange', scoped: true },
    { page: 'bindings', name: 'Bindings', icon: 'binding', scoped: true },
    { page: 'dead-letters', name: 'Dead letters', icon: 'dead', scoped: true },
    { page: 'tail', name: 'Live tail', icon: 'tail', scoped: true },
    { page: 'moves', name: 'Moves', icon: 'shovel' },
  ]],
  ['Clients', [
    { page: 'connections', name: 'Connections', icon: 'connection', scoped: true },
    { page: 'channels', name: 'Channels', icon: 'channel', scoped: true },
    { page: 'consumers', name: 'Consumers', icon: 'consumer', scoped: true },
    { page: 'clients', name: 'MQTT clients', icon: 'client', scoped: true },
    { page: 'retained', name: 'Retained topics', icon: 'retained', scoped: true },
    { page: 'subscriptions', name: 'STOMP subscriptions', icon: 'subscription', scoped: true },
  ]],
  ['Administration', [
    { page: 'node', name: 'Node', icon: 'node', may: () => isMonitor.value },
    { page: 'vhosts', name: 'Virtual hosts', icon: 'vhost' },
    { page: 'users', name: 'Users', icon: 'user', may: () => isAdministrator.value },
    { page: 'permissions', name: 'Permissions', icon: 'lock', may: () => isAdministrator.value },
    { page: 'policies', name: 'Policies', icon: 'policy', scoped: true, may: () => isPolicymaker.value },
    { page: 'limits', name: 'Limits', icon: 'limit', may: () => isAdministrator.value },
    { page: 'definitions', name: 'Definitions', icon: 'definitions', may: () => isAdministrator.value },
    { page: 'shovels', name: 'Shovels', icon: 'shovel', scoped: true, may: () => isMonitor.value },
    { page: 'audit', name: 'Audit log', icon: 'audit', may: () => isAdministrator.value },
    { page: 'features', name: 'Feature flags', icon: 'flag' },
  ]],
];

export const entries = (): Entry[] => groups.flatMap(([, all]) => all).filter((e) => e.may?.() ?? true);

export const linkTo = (e: Entry): string => href([e.page], e.scoped ? { vhost: vhost.value } : {});
