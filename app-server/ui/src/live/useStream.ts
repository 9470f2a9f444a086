/* A live stream as long as a component is shown. Hidden tabs let go of theirs after a while: a browser has six
 * connections to a server for all its tabs; what was missed comes when the tab is seen again (Last-Event-ID). */
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';
import { useToken } from '../api/session';
import type { SseEvent } from './sse';
import { openStream, type StreamState } from './stream';

const HIDDEN_MS = 30_000;
const streams = new Map<symbol, StreamState>();
const listeners = new Set<() => void>();
let worst: StreamState | 'off' = 'off';

function report(key: symbol, state: StreamState | undefined) {
  if (state) streams.set(key, state);
  else streams.delete(key);
  const states = [...streams.values()];
  const next =
    states.length === 0
      ? 'off'
      : states.includes('waiting')
        ? 'waiting'
        : states.includes('connecting')
          ? 'connecting'
          : states.includes('open')
            ? 'open'
            : 'refused';
  if (next === worst) return;
  worst = next;
  listeners.forEach((l) => l());
}

/** The state of all streams of this page, the worst of them: what the indicator in the shell shows. */
export function useLiveState(): StreamState | 'off' {
  return useSyncExternalStore(
    (l) => (listeners.add(l), () => listeners.delete(l)),
    () => worst,
  );
}

export function useStream(path: string | undefined, onEvents: (events: SseEvent[]) => void): { state: StreamState; message?: string } {
  const [state, setState] = useState<{ state: StreamState; message?: string }>({ state: 'connecting' });
  const handler = useRef(onEvents);
  handler.current = onEvents;
  const token = useToken();

  useEffect(() => {
    if (!path || !token) return;
    const key = Symbol(path);
    let stop: (() => void) | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let resume = '';
    const start = () => {
      stop ??= openStream(path, {
        resume,
        onEvents: (events) => {
          resume = events[events.length - 1]?.id || resume;
          handler.current(events);
        },
        onState: (next, message) => {
          report(key, next);
          setState({ state: next, message });
        },
      });
    };
    const seen = () => {
      clearTimeout(timer);
      if (document.visibilityState === 'visible') start();
      else
        timer = setTimeout(() => {
          stop?.();
          stop = undefined;
        }, HIDDEN_MS);
    };
    start();
    document.addEventListener('visibilitychange', seen);
    return () => {
      document.removeEventListener('visibilitychange', seen);
      clearTimeout(timer);
      stop?.();
      report(key, undefined);
    };
  }, [path, token]);
  return state;
}
