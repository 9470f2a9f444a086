/* What the page of integrations works out. Pure. */
import type { Tone } from './frames';

/** The API's comma-separated list, one URL a line. */
export const joinUrls = (list: string | undefined): string =>
  (list ?? '')
    .split(',')
    .map((u) => u.trim())
    .filter((u) => u !== '')
    .join('\n');

/** Lines or commas, as people type them, to the API's list. */
export const splitUrls = (text: string): string => joinUrls(text.replace(/\s+/g, ',')).replace(/\n/g, ',');

export function endpointTone(e: { state: string; waiting: string; deadLetters: string }): Tone {
  if (e.state === 'FAILING') return 'bad';
  if (Number(e.deadLetters) > 0) return 'warn';
  return e.state === 'WORKING' ? 'ok' : 'off';
}

/** Some time ago in the form of a datetime-local field. */
export function agoLocal(ms: number, now = Date.now()): string {
  const d = new Date(now - ms);
  return new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
