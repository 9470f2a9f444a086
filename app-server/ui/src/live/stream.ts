/* One live stream: fetch with the bearer token, read as server-sent events, connected again with Last-Event-ID. */
import { expire, getToken } from '../api/session';
import { SseParser, type SseEvent } from './sse';

export type StreamState = 'connecting' | 'open' | 'waiting' | 'refused';

export interface StreamOptions {
  /** Id of the last event already known. */
  resume?: string;
  onEvents: (events: SseEvent[]) => void;
  onState: (state: StreamState, message?: string) => void;
}

const SHORTEST_MS = 500;
const LONGEST_MS = 30_000;
/** The server sends something, if only a comment, more often than this. */
const SILENCE_MS = 60_000;

/** Wait before attempt n (from 0), a random part of it, so that a thousand browsers do not return in one second. */
export function backOffMs(attempt: number, random: number): number {
  const full = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** Math.min(attempt, 10));
  return full / 2 + (full / 2) * random;
}

/** Runs until the returned function is called. A 4xx answer other than 401, 408 and 429 is final. */
export function openStream(path: string, { onEvents, onState, resume }: StreamOptions): () => void {
  const stop = new AbortController();
  let lastId = resume ?? '';
  let attempt = 0;

  async function connect(): Promise<number | undefined> {
    const token = getToken();
    const one = new AbortController();
    const end = () => one.abort();
    stop.signal.addEventListener('abort', end);
    let silence = setTimeout(end, SILENCE_MS);
    try {
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (token) headers.Authorization = `Bearer ${token}`;
      if (lastId) headers['Last-Event-ID'] = lastId;
      const response = await fetch(path, { headers, signal: one.signal, cache: 'no-store' });
      if (response.status === 401) expire(token);
      if (!response.ok || !response.body) {
        const body = (await response.json().catch(() => undefined)) as { message?: string } | undefined;
        if (response.status >= 400 && response.status < 500 && ![401, 408, 429].includes(response.status)) {
          onState('refused', body?.message ?? `HTTP ${response.status}`);
          return undefined;
        }
        throw new Error(`HTTP ${response.status}`);
      }
      onState('open');
      const parser = new SseParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        attempt = 0;
        clearTimeout(silence);
        silence = setTimeout(end, SILENCE_MS);
        const events = parser.feed(value);
        if (parser.lastId) lastId = parser.lastId;
        if (events.length > 0 && !stop.signal.aborted) onEvents(events);
      }
      return parser.retryMs ?? backOffMs(attempt++, Math.random());
    } catch {
      return backOffMs(attempt++, Math.random());
    } finally {
      clearTimeout(silence);
      stop.signal.removeEventListener('abort', end);
    }
  }

  void (async () => {
    onState('connecting');
    while (!stop.signal.aborted) {
      const wait = await connect();
      if (wait === undefined || stop.signal.aborted) return;
      onState('waiting');
      await new Promise<void>((done) => {
        const timer = setTimeout(done, wait);
        stop.signal.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true });
      });
    }
  })();
  return () => stop.abort();
}
