/* Series of counts and signal as the API gives them, cut and summed for charts. Pure. */
import { megahertz, toTime } from './format';

export interface Metric {
  name: string;
  timestamps: string[];
  datasets: { label: string; data: number[] }[];
  kind: string;
}

export type Span = 'day' | 'month' | 'year';
export const SPANS: readonly Span[] = ['day', 'month', 'year'];

const HOUR = 3_600_000;

/** What to ask for: the last 24 hours, 30 days or 12 months, the present one included. */
export function range(span: Span, now: number): { start: string; end: string; aggregation: 'HOUR' | 'DAY' | 'MONTH' } {
  const end = new Date(now);
  const start = new Date(now);
  if (span === 'day') start.setTime(now - 23 * HOUR);
  else if (span === 'month') start.setTime(now - 29 * 24 * HOUR);
  else {
    // The 31st has no namesake in every month.
    start.setUTCDate(1);
    start.setUTCMonth(start.getUTCMonth() - 11);
  }
  return { start: start.toISOString(), end: end.toISOString(), aggregation: span === 'day' ? 'HOUR' : span === 'month' ? 'DAY' : 'MONTH' };
}

/**
 * The beginning of a stretch, as the axis shows it. Days and months begin at the server's midnight, which may be the day
 * before here: noon is the same day in both places.
 */
export function tick(stamp: string, span: Span | 'minute', language: string, timeZone?: string): string {
  const begin = toTime(stamp);
  if (begin === undefined) return '';
  const time = span === 'month' || span === 'year' ? begin + 12 * HOUR : begin;
  const as: Intl.DateTimeFormatOptions =
    span === 'year' ? { month: 'short', year: '2-digit' } : span === 'month' ? { day: 'numeric', month: 'short' } : { hour: '2-digit', minute: '2-digit' };
  return new Intl.DateTimeFormat(language, { ...as, timeZone }).format(time);
}

export const sum = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0);

export function totals(m: Metric | null | undefined): number {
  return sum((m?.datasets ?? []).map((d) => sum(d.data)));
}

/** Where nothing was received there is no signal, and not one of 0. */
export function gaps(m: Metric, received: Metric): (number | undefined)[] {
  const n = received.datasets[0]?.data ?? [];
  return (m.datasets[0]?.data ?? []).map((v, i) => (n[i] ? v : undefined));
}

/** The mean over all receptions, not over the stretches. */
export function mean(m: Metric, received: Metric): number | undefined {
  const n = received.datasets[0]?.data ?? [];
  const all = sum(n);
  return all > 0 ? sum((m.datasets[0]?.data ?? []).map((v, i) => v * (n[i] ?? 0))) / all : undefined;
}

/** Part of the uplinks that never came; undefined where nothing was to come. */
export function loss(lost: Metric, received: Metric): number | undefined {
  const l = Math.max(0, totals(lost));
  const all = l + totals(received);
  return all > 0 ? l / all : undefined;
}

/** "868100000" → "868.1 MHz", "5" → "DR5"; names stay. */
export function label(text: string): string {
  const n = Number(text);
  if (text === '' || !Number.isInteger(n)) return text;
  return n > 1_000_000 ? megahertz(n) : `DR${n}`;
}

/** Seconds as people say them: "40 s", "10 min", "6 h", "2 d". */
export function interval(seconds: number): string {
  const units: [number, string][] = [[86_400, 'd'], [3600, 'h'], [60, 'min']];
  for (const [length, name] of units) if (seconds >= length * 1.5 || seconds === length) return `${Math.round((seconds / length) * 10) / 10} ${name}`;
  return `${Math.round(seconds)} s`;
}

/** A number at the axis: short, whatever it is. */
export function axisLabel(v: number, language: string): string {
  const [size, unit] = Math.abs(v) >= 1e6 ? [1e6, 'M'] : Math.abs(v) >= 100_000 ? [1000, 'k'] : [1, ''];
  return new Intl.NumberFormat(language, { maximumFractionDigits: 1 }).format(v / size) + unit;
}

/** A top for the axis that leaves little empty and is easy to read: 1, 2 or 5 times a power of ten. */
export function niceTop(max: number): number {
  if (!(max > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(max));
  return ([1, 2, 5, 10].find((f) => f * power >= max - 1e-9) ?? 10) * power;
}
