/* Numbers, times and identifiers as people read them. Pure but for randomKey(). */

/** "0102030405060708" → "01 02 03 04 05 06 07 08". */
export function groupByTwo(hex: string): string {
  return hex.replace(/[^0-9a-fA-F]/g, '').replace(/(..)(?=.)/g, '$1 ').toLowerCase();
}

/** What people paste (colons, dashes, spaces, 0x, upper case) as plain hex; undefined unless it has `digits` digits. */
export function parseHex(text: string, digits: number): string | undefined {
  const hex = text.trim().replace(/^0x/i, '').replace(/[\s:\-.]/g, '').toLowerCase();
  return hex.length === digits && /^[0-9a-f]*$/.test(hex) ? hex : undefined;
}

/** Bytes from hex text of any even length; undefined when it is not hex. */
export function hexToBytes(text: string): Uint8Array | undefined {
  const hex = text.trim().replace(/^0x/i, '').replace(/[\s:\-]/g, '');
  if (hex.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(hex)) return undefined;
  const out = new Uint8Array(hex.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return out;
}

export function bytesToHex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

/** So many random bytes, as hex. */
export const randomKey = (bytes: number): string => bytesToHex(crypto.getRandomValues(new Uint8Array(bytes)));

export function base64ToBytes(text: string | null | undefined): Uint8Array {
  if (!text) return new Uint8Array();
  try {
    const raw = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
    return Uint8Array.from(raw, (c) => c.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

export function bytesToBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(''));
}

/** Text when every byte is printable UTF-8, otherwise undefined. */
export function printable(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return undefined;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return /^[\P{C}\n\t]+$/u.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['second', 1000],
  ['minute', 60_000],
  ['hour', 3_600_000],
  ['day', 86_400_000],
  ['month', 30 * 86_400_000],
  ['year', 365 * 86_400_000],
];

/** "3 min. ago" in the given language; a time up to 5 s off in either direction is "now". */
export function timeAgo(time: number, now: number, language: string): string {
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'short' });
  const gone = now - time;
  if (Math.abs(gone) < 5000) return format.format(0, 'second');
  let [unit, size] = UNITS[0]!;
  for (const [u, s] of UNITS) if (Math.abs(gone) >= s) [unit, size] = [u, s];
  return format.format(-Math.trunc(gone / size), unit);
}

/** Milliseconds of an API timestamp; undefined when it is unset or not a time. */
export function toTime(stamp: string | null | undefined): number | undefined {
  if (!stamp) return undefined;
  const t = Date.parse(stamp);
  return Number.isNaN(t) ? undefined : t;
}

/** Local clock time with milliseconds. */
export function clock(time: number, language: string): string {
  return new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false }).format(time);
}

export function dateTime(time: number, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium' }).format(time);
}

/** Hz → "868.1 MHz", as many digits as it has. */
export function megahertz(hz: number): string {
  return `${(hz / 1e6).toFixed(4).replace(/0+$/, '').replace(/\.$/, '.0')} MHz`;
}

/** A count with its thousands apart. */
export function whole(n: number, language: string): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 0 }).format(n);
}

/** Microseconds as µs, ms or s with three digits at most. */
export function duration(us: number): string {
  const short = (v: number) => String(Number(v.toPrecision(3)));
  if (us < 1000) return `${us} µs`;
  return us < 1e6 ? `${short(us / 1000)} ms` : `${short(us / 1e6)} s`;
}

/** Part of a whole in percent; undefined when the whole is empty. */
export function percent(part: number, whole: number): number | undefined {
  return whole > 0 ? Math.round((part / whole) * 100) : undefined;
}

/** UNCONFIRMED_DATA_UP → UnconfirmedDataUp: the name that LoRaWAN people use. */
export function pascal(name: string): string {
  return name.toLowerCase().replace(/(^|_)([a-z])/g, (_, __, c: string) => c.toUpperCase());
}

/** LORAWAN_1_0_3 → 1.0.3; RP002_1_0_1 → RP002-1.0.1. */
export function versionName(name: string): string {
  return name
    .replace(/^LORAWAN_/, '')
    .replace(/^RP002_/, 'RP002-')
    .replace(/_/g, '.');
}

export type Encoding = 'hex' | 'base64' | 'text';
export const ENCODINGS: readonly Encoding[] = ['hex', 'base64', 'text'];

/** The bytes that were typed; undefined when the text is not in its encoding. */
export function encodePayload(text: string, encoding: Encoding): Uint8Array | undefined {
  if (encoding === 'hex') return hexToBytes(text);
  if (encoding === 'text') return new TextEncoder().encode(text);
  const plain = text.replace(/\s/g, '');
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(plain) && plain.replace(/=+$/, '').length % 4 !== 1 ? base64ToBytes(plain) : undefined;
}
