// Alarms in words: what is wrong, what it does to clients, what to do.

import { signal } from '@preact/signals';
import type { ApiError, Json } from './api';
import { bytes, count, time } from './format';

export interface Alarm {
  title: string;
  what: string;
  todo: string;
  since?: number;
  /** Whose limit it is, if the broker lets it be changed. */
  resource?: 'memory' | 'disk';
}

/** The newer of the two endpoints, until the broker turns out not to have it. */
export const alarmsPath = signal('/alarms');

/** readAlarms makes alarms of what either endpoint says; a failing check is an answer too. */
export function readAlarms(data: Json, error: ApiError | undefined): Alarm[] {
  if (error?.missing && alarmsPath.value === '/alarms') {
    alarmsPath.value = '/health/checks/alarms';
    return [];
  }
  if (error?.status === 503) {
    return /memory/.test(error.reason) ? [explain({ resource: 'memory' })] : /disk/.test(error.reason) ? [explain({ resource: 'disk' })] : [explain({ resource: 'memory' })];
  }
  const rows: Json[] = Array.isArray(data) ? data : (data?.items ?? data?.alarms ?? []);
  return rows.map(explain);
}

function explain(a: Json): Alarm {
  const figures = a.value !== undefined && a.limit !== undefined ? ` (${bytes(a.value)}, limit ${bytes(a.limit)})` : '';
  const blocked = a.blocked_connections ? ` ${count(a.blocked_connections)} connections are held back.` : '';
  const since = a.since ? ` Since ${time(a.since)}.` : '';
  const resource = a.limit === undefined ? undefined : a.resource;
  if (a.resource === 'disk') {
    return {
      title: 'Disk is almost full',
      what: `The data directory has too little room left${figures}. Publishers wait; consumers go on.${blocked}${since}`,
      todo: 'Free space on that disk, let consumers catch up on the deepest queues, or lower disk_free_limit if the limit is too careful. Publishing goes on by itself.',
      since: a.since, resource,
    };
  }
  if (a.resource === 'memory') {
    return {
      title: 'Memory is at its limit',
      what: `The broker uses as much memory as it may${figures}. Publishers wait; consumers go on.${blocked}${since}`,
      todo: 'Add consumers to the deepest queues or purge what nobody needs; look for connections with many unacked messages; or raise vm_memory_high_watermark. Publishing goes on by itself.',
      since: a.since, resource,
    };
  }
  return { title: String(a.reason ?? a.resource ?? 'Alarm'), what: `${a.reason ?? ''}${figures}${blocked}${since}`, todo: 'The broker’s log says more.', since: a.since };
}
