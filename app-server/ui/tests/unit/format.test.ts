import { webcrypto } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { base64ToBytes, bytesToBase64, bytesToHex, duration, encodePayload, groupByTwo, hexToBytes, megahertz, parseHex, pascal, percent, printable, randomKey, timeAgo, toTime, versionName, whole } from '../../src/lib/format';

describe('identifiers', () => {
  it('groups by two', () => {
    expect(groupByTwo('70B3D57ED8000012')).toBe('70 b3 d5 7e d8 00 00 12');
    expect(groupByTwo('')).toBe('');
    expect(groupByTwo('0a')).toBe('0a');
  });
  it('takes what people paste', () => {
    for (const text of ['70b3d57ed8000012', '70-B3-D5-7E-D8-00-00-12', ' 70:b3:d5:7e:d8:00:00:12 ', '0x70B3D57ED8000012']) expect(parseHex(text, 16)).toBe('70b3d57ed8000012');
  });
  it('refuses other lengths and digits', () => {
    for (const text of ['', '70b3', '70b3d57ed80000121', '70b3d57ed800001g']) expect(parseHex(text, 16)).toBeUndefined();
  });
});

describe('bytes', () => {
  it('reads and writes hex', () => {
    expect(bytesToHex(hexToBytes('00 fF-10')!)).toBe('00ff10');
    expect(hexToBytes('')).toEqual(new Uint8Array());
    expect(hexToBytes('abc')).toBeUndefined();
    expect(hexToBytes('zz')).toBeUndefined();
  });
  it('reads and writes base64, also of URLs', () => {
    expect(bytesToBase64(new Uint8Array([1, 2]))).toBe('AQI=');
    expect(base64ToBytes('-_8=')).toEqual(new Uint8Array([0xfb, 0xff]));
    expect(base64ToBytes('!')).toEqual(new Uint8Array());
    expect(base64ToBytes(undefined)).toEqual(new Uint8Array());
  });
  it('shows text only where all of it can be read', () => {
    expect(printable(new TextEncoder().encode('grün 23 °C'))).toBe('grün 23 °C');
    expect(printable(new Uint8Array([0x41, 0x00]))).toBeUndefined();
    expect(printable(new Uint8Array([0xff, 0xfe]))).toBeUndefined();
    expect(printable(new Uint8Array())).toBeUndefined();
  });
});

describe('times', () => {
  const now = Date.UTC(2026, 0, 10, 12);
  it.each([
    [0, 'now'],
    [4_900, 'now'],
    [30_000, '30 sec. ago'],
    [59_999, '59 sec. ago'],
    [60_000, '1 min. ago'],
    [3 * 60_000, '3 min. ago'],
    [2 * 3_600_000, '2 hr. ago'],
    [86_400_000, 'yesterday'],
    [5 * 86_400_000, '5 days ago'],
    [90 * 86_400_000, '3 mo. ago'],
    [800 * 86_400_000, '2 yr. ago'],
    [-120_000, 'in 2 min.'],
  ])('%d ms ago is "%s"', (gone, words) => expect(timeAgo(now - gone, now, 'en')).toBe(words));
  it('speaks German', () => expect(timeAgo(now - 180_000, now, 'de')).toBe('vor 3 Min.'));
  it('knows unset times', () => {
    expect(toTime(null)).toBeUndefined();
    expect(toTime('')).toBeUndefined();
    expect(toTime('soon')).toBeUndefined();
    expect(toTime('1970-01-01T00:00:01Z')).toBe(1000);
  });
});

describe('numbers', () => {
  it('frequencies', () => {
    expect(megahertz(868_100_000)).toBe('868.1 MHz');
    expect(megahertz(867_125_000)).toBe('867.125 MHz');
    expect(megahertz(923_000_000)).toBe('923.0 MHz');
  });
  it('durations', () => {
    expect(duration(7)).toBe('7 µs');
    expect(duration(201_345)).toBe('201 ms');
    expect(duration(1_500_000)).toBe('1.5 s');
  });
  it('percent', () => {
    expect(percent(1, 3)).toBe(33);
    expect(percent(0, 0)).toBeUndefined();
    expect(whole(12_345, 'en-GB')).toBe('12,345');
    expect(whole(12_345, 'de')).toBe('12.345');
  });
});

it('names', () => {
  expect(pascal('UNCONFIRMED_DATA_UP')).toBe('UnconfirmedDataUp');
  expect(pascal('JOIN_REQUEST')).toBe('JoinRequest');
  expect(versionName('LORAWAN_1_0_3')).toBe('1.0.3');
  expect(versionName('RP002_1_0_1')).toBe('RP002-1.0.1');
  expect(versionName('A')).toBe('A');
});

it('keys by chance', () => {
  // Node 18 has no global crypto; browsers do.
  vi.stubGlobal('crypto', webcrypto);
  expect(randomKey(16)).toMatch(/^[0-9a-f]{32}$/);
  expect(randomKey(16)).not.toBe(randomKey(16));
  vi.unstubAllGlobals();
});

describe('a payload that is typed', () => {
  it('is hex, base64 or text', () => {
    expect(encodePayload('c0 FF-ee', 'hex')).toEqual(Uint8Array.of(0xc0, 0xff, 0xee));
    expect(encodePayload('wP/u', 'base64')).toEqual(Uint8Array.of(0xc0, 0xff, 0xee));
    expect(encodePayload('wP_u\n', 'base64')).toEqual(Uint8Array.of(0xc0, 0xff, 0xee));
    expect(encodePayload('é', 'text')).toEqual(Uint8Array.of(0xc3, 0xa9));
  });
  it('is refused when it is not what it should be', () => {
    expect(encodePayload('c0f', 'hex')).toBeUndefined();
    expect(encodePayload('wP/u0', 'base64')).toBeUndefined();
    expect(encodePayload('w P!', 'base64')).toBeUndefined();
  });
});
