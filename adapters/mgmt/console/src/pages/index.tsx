// Every page by the first segment of its URL; the rest is handed to it.

import type { ComponentType } from 'preact';
import { Overview } from './overview';
import { Queues } from './queues';
import { Queue } from './queue';

type Body = ComponentType<{ parts: string[] }>;

/** either shows a list, or the one object that further segments name. */
const either = (List: Body, One: Body): Body => ({ parts }) => (parts.length > 0 ? <One parts={parts} /> : <List parts={parts} />);

export const pages: Record<string, Body> = {
  overview: Overview,
  queues: either(Queues, Queue),
};
