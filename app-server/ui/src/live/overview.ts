/* The stream behind every page: which gateways and devices were heard. Marks what is shown of them as stale, at most
 * once in two seconds, and keeps the latest notices for the overview. */
import { useEffect, useRef, useSyncExternalStore } from 'react';
import { queryClient } from '../api/queries';
import type { SseEvent } from './sse';
import { useStream } from './useStream';

export interface Notice {
  kind: 'gateway' | 'device';
  id: string;
  name: string;
  time: string;
  text: string;
}

const EVERY_MS = 2000;
/** Silence is news too: without a notice for this long gateways may have gone offline. Asked again after twice as long. */
const SILENCE_MS = 60_000;
const SILENCE_MAX_MS = 3_600_000;
const KEEP = 50;
let notices: readonly Notice[] = [];
const listeners = new Set<() => void>();

export function useNotices(): readonly Notice[] {
  return useSyncExternalStore(
    (l) => (listeners.add(l), () => listeners.delete(l)),
    () => notices,
  );
}

export function readNotice(e: SseEvent): Notice | undefined {
  try {
    const raw = JSON.parse(e.data) as Record<string, unknown>;
    const text = (k: string) => (typeof raw[k] === 'string' ? (raw[k] as string) : '');
    const gateway = text('gatewayId');
    const device = text('devEui');
    if (!gateway && !device) return undefined;
    return { kind: device ? 'device' : 'gateway', id: device || gateway, name: text('name'), time: text('lastSeenAt') || text('time') || new Date().toISOString(), text: text('state') || e.event };
  } catch {
    return undefined;
  }
}

/** Newest first, one line for each thing. */
export function addNotices(old: readonly Notice[], more: readonly Notice[], limit: number): Notice[] {
  const seen = new Set<string>();
  return [...[...more].reverse(), ...old]
    .filter((n) => {
      const key = `${n.kind}${n.id}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    })
    .slice(0, limit);
}

export function useOverviewStream(tenantId: string | undefined): void {
  const dirty = useRef(new Set<'gateway' | 'device'>());
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const silence = useRef<ReturnType<typeof setTimeout>>();
  const listen = useRef((wait: number) => {
    clearTimeout(silence.current);
    silence.current = setTimeout(() => {
      for (const kind of ['gateway', 'device']) void queryClient.invalidateQueries({ queryKey: [kind] });
      listen.current(Math.min(2 * wait, SILENCE_MAX_MS));
    }, wait);
  });
  useEffect(() => {
    notices = [];
    listeners.forEach((l) => l());
    listen.current(SILENCE_MS);
    return () => {
      clearTimeout(timer.current);
      timer.current = undefined;
      clearTimeout(silence.current);
    };
  }, [tenantId]);
  const stream = useStream(tenantId ? `/api/live/overview?tenantId=${encodeURIComponent(tenantId)}` : undefined, (events) => {
    const fresh = events.map(readNotice).filter((n) => n !== undefined);
    // More changed than the server wants to list.
    if (events.some((e) => e.event === 'refresh')) dirty.current.add('gateway').add('device');
    fresh.forEach((n) => dirty.current.add(n.kind));
    if (fresh.some((n) => n.kind === 'gateway')) listen.current(SILENCE_MS);
    if (dirty.current.size === 0) return;
    notices = addNotices(notices, fresh, KEEP);
    listeners.forEach((l) => l());
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      for (const kind of dirty.current) void queryClient.invalidateQueries({ queryKey: [kind] });
      dirty.current.clear();
    }, EVERY_MS);
  });
  // The notices have no history: after a gap everything may have changed.
  const before = useRef(stream.state);
  useEffect(() => {
    if (before.current === 'waiting' && stream.state === 'open') void queryClient.invalidateQueries();
    before.current = stream.state;
  }, [stream.state]);
}
