import { describe, expect, it } from 'vitest';
import { agoLocal, endpointTone, joinUrls, splitUrls } from '../../src/lib/integration';

describe('integration', () => {
  it('shows one URL a line and stores commas', () => {
    expect(joinUrls('https://a/ , https://b/?x=1,')).toBe('https://a/\nhttps://b/?x=1');
    expect(joinUrls(undefined)).toBe('');
    expect(splitUrls(' https://a/\n\nhttps://b/, https://c/ ')).toBe('https://a/,https://b/,https://c/');
    expect(splitUrls('')).toBe('');
  });

  it('says what needs attention', () => {
    const e = (state: string, deadLetters = '0') => endpointTone({ state, waiting: '0', deadLetters });
    expect(e('FAILING', '3')).toBe('bad');
    expect(e('WORKING', '3')).toBe('warn');
    expect(e('WORKING')).toBe('ok');
    expect(e('IDLE')).toBe('off');
  });

  it('gives a local time that reads back as the same moment', () => {
    const now = Date.UTC(2026, 10, 22, 12, 0, 0);
    expect(Date.parse(agoLocal(3_600_000, now))).toBe(now - 3_600_000);
  });
});
