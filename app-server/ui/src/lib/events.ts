/* Integration events as the live stream of a device sends them: {id, description, time, body}, the body being the event
 * itself (integration.* in proto3 JSON, members that are zero left out). Pure. */
import type { SseEvent } from '../live/sse';
import type { Modulation, RxInfo } from './frames';

export interface EventBody {
  deduplicationId?: string;
  deviceInfo?: { devEui?: string };
  time?: string | null;
  devAddr?: string;
  adr?: boolean;
  dr?: number;
  fCnt?: number;
  fPort?: number;
  confirmed?: boolean;
  data?: string;
  object?: unknown;
  rxInfo?: RxInfo[];
  txInfo?: { frequency: number; modulation?: Modulation | null } | null;
  acknowledged?: boolean;
  queueItemId?: string;
  fCntDown?: number;
  gatewayId?: string;
  level?: string;
  code?: string;
  description?: string;
  context?: Record<string, string>;
  margin?: number;
  externalPowerSource?: boolean;
  batteryLevel?: number;
  location?: { latitude: number; longitude: number; accuracy?: number; source?: string } | null;
}

export interface LiveEvent {
  id: string;
  kind: string;
  body: EventBody;
}

export const EVENT_KINDS = ['up', 'join', 'ack', 'txack', 'status', 'location', 'log', 'integration'] as const;

export function readEvent(e: SseEvent): LiveEvent | undefined {
  try {
    const item = JSON.parse(e.data) as { body?: unknown } | null;
    const body = item?.body;
    if (typeof body !== 'object' || body === null || Array.isArray(body)) return undefined;
    return { id: e.id, kind: e.event, body };
  } catch {
    return undefined;
  }
}

/** The join server refused a join for its DevNonce: flushing the device's nonces helps. */
export function isNonceRefused(e: LiveEvent): boolean {
  const b = e.body;
  return e.kind === 'log' && b.code === 'OTAA' && b.context?.dev_nonce !== undefined && /DevNonce/i.test(b.description ?? '');
}

/** Newest first; an event that is known already (its id) changes nothing. */
export function addEvents(rows: readonly LiveEvent[], more: readonly (LiveEvent | undefined)[], limit: number): LiveEvent[] {
  const known = new Set(rows.map((r) => r.id).filter(Boolean));
  const fresh: LiveEvent[] = [];
  for (const e of more) {
    if (!e || (e.id && known.has(e.id))) continue;
    known.add(e.id);
    fresh.push(e);
  }
  return [...fresh.reverse(), ...rows].slice(0, limit);
}
