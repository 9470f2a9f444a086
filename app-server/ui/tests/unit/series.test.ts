import { describe, expect, it } from 'vitest';
import { axisLabel, gaps, interval, label, loss, mean, niceTop, range, tick, totals, type Metric } from '../../src/lib/series';

const of = (...data: number[]): Metric => ({ name: '', timestamps: data.map((_, i) => new Date(i * 3_600_000).toISOString()), datasets: [{ label: 'x', data }], kind: 'GAUGE' });

describe('what is asked for', () => {
  const now = Date.UTC(2026, 2, 31, 12, 30);
  it('is 24 hours, 30 days, 12 months, with the present one', () => {
    expect(range('day', now)).toEqual({ start: '2026-03-30T13:30:00.000Z', end: '2026-03-31T12:30:00.000Z', aggregation: 'HOUR' });
    expect(range('month', now)).toMatchObject({ start: '2026-03-02T12:30:00.000Z', aggregation: 'DAY' });
    expect(range('year', now)).toMatchObject({ start: '2025-04-01T12:30:00.000Z', aggregation: 'MONTH' });
  });
});

describe('sums and means', () => {
  it('weigh by receptions', () => {
    expect(mean(of(-100, 0, -50), of(1, 0, 3))).toBeCloseTo(-62.5);
    expect(mean(of(0, 0), of(0, 0))).toBeUndefined();
  });
  it('show no signal where nothing was received', () => {
    expect(gaps(of(-100, 0, -50), of(1, 0, 3))).toEqual([-100, undefined, -50]);
  });
  it('know how much is lost', () => {
    expect(loss(of(2, -1), of(5, 4))).toBeCloseTo(0.1);
    expect(loss(of(-1), of(4))).toBe(0);
    expect(loss(of(0), of(0))).toBeUndefined();
    expect(totals(undefined)).toBe(0);
  });
});

describe('words', () => {
  it('name frequencies and rates', () => {
    expect(label('868100000')).toBe('868.1 MHz');
    expect(label('5')).toBe('DR5');
    expect(label('MIC_MISMATCH')).toBe('MIC_MISMATCH');
    expect(label('868.000-868.600 MHz, 1 %')).toBe('868.000-868.600 MHz, 1 %');
  });
  it('say intervals in one unit', () => {
    expect([20, 59, 90, 600, 3600, 21_600, 86_400, 200_000].map(interval)).toEqual(['20 s', '59 s', '1.5 min', '10 min', '1 h', '6 h', '1 d', '2.3 d']);
  });
  it('cut the axis', () => {
    expect([0, 1, 3, 5, 7, 11, 230].map(niceTop)).toEqual([1, 1, 5, 5, 10, 20, 500]);
    expect(tick('', 'day', 'en-GB')).toBe('');
    expect(tick('2026-03-31T13:00:00Z', 'day', 'en-GB', 'UTC')).toBe('13:00');
  });
  it('name a day and a month as the server does, wherever the browser is', () => {
    for (const zone of ['UTC', 'America/Los_Angeles', 'America/Sao_Paulo', 'Europe/Berlin', 'Asia/Tokyo', 'Australia/Sydney']) {
      expect(tick('2026-03-31T00:00:00Z', 'month', 'en-GB', zone), zone).toBe('31 Mar');
      expect(tick('2026-03-01T00:00:00Z', 'year', 'en-GB', zone), zone).toBe('Mar 26');
    }
  });
  it('stay short at the axis', () => {
    expect([0, -107.5, 2000, 250_000, 2_000_000].map((v) => axisLabel(v, 'en-GB'))).toEqual(['0', '-107.5', '2,000', '250k', '2M']);
  });
});
