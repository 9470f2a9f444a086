/* The signed-in session: the token lives in memory and in sessionStorage. Tabs of one browser hand it to each other, so
 * that a link opens in a second window without another sign-in; signing out signs out everywhere. */
import { useSyncExternalStore } from 'react';

const KEY = 'longwave.token';
type Note = { kind: 'ask' } | { kind: 'token'; token: string } | { kind: 'out' };

let token: string | null = null;
let expired = false;
const listeners = new Set<() => void>();
const channel = typeof BroadcastChannel === 'undefined' ? undefined : new BroadcastChannel('longwave.session');

function keep(next: string | null) {
  token = next;
  try {
    if (next) sessionStorage.setItem(KEY, next);
    else sessionStorage.removeItem(KEY);
  } catch {
    /* a browser without storage keeps the token in memory */
  }
  listeners.forEach((l) => l());
}

/** Takes the token of this tab, or asks the other tabs for theirs. */
export async function restoreSession(): Promise<void> {
  try {
    token = sessionStorage.getItem(KEY);
  } catch {
    token = null;
  }
  if (!channel) return;
  const waiting = token ? undefined : new Promise<void>((done) => (onAnswer = done));
  channel.onmessage = (e: MessageEvent<Note>) => {
    const note = e.data;
    if (note.kind === 'ask' && token && !expired) channel.postMessage({ kind: 'token', token } satisfies Note);
    else if (note.kind === 'token' && (!token || expired)) {
      expired = false;
      keep(note.token);
      onAnswer();
    } else if (note.kind === 'out' && token) keep(null);
  };
  if (!waiting) return;
  channel.postMessage({ kind: 'ask' } satisfies Note);
  await Promise.race([waiting, new Promise((r) => setTimeout(r, 120))]);
}
let onAnswer: () => void = () => undefined;

export function signedIn(next: string): void {
  expired = false;
  keep(next);
  channel?.postMessage({ kind: 'token', token: next } satisfies Note);
}

export function signOut(): void {
  expired = false;
  keep(null);
  channel?.postMessage({ kind: 'out' } satisfies Note);
}

/** The server no longer takes the token: the page stays as it is and asks to sign in again. */
export function expire(used: string | null): void {
  if (!token || used !== token || expired) return;
  expired = true;
  listeners.forEach((l) => l());
}

export const getToken = () => token;

function subscribe(l: () => void) {
  listeners.add(l);
  return () => listeners.delete(l);
}
export const useToken = () => useSyncExternalStore(subscribe, () => token);
export const useExpired = () => useSyncExternalStore(subscribe, () => expired);
