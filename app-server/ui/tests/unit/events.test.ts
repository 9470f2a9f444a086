import { describe, expect, it } from 'vitest';
import { isNonceRefused, type LiveEvent } from '../../src/lib/events';

const log = (body: LiveEvent['body']): LiveEvent => ({ id: '1', kind: 'log', body });

describe('a refused DevNonce', () => {
  it('is told from other refusals of a join', () => {
    expect(isNonceRefused(log({ code: 'OTAA', description: 'DevNonce has already been used', context: { dev_nonce: '7' } }))).toBe(true);
    expect(isNonceRefused(log({ code: 'OTAA', description: 'the MIC does not fit', context: { dev_nonce: '7' } }))).toBe(false);
    expect(isNonceRefused(log({ code: 'UPLINK_F_CNT_RESET', description: 'DevNonce', context: {} }))).toBe(false);
    expect(isNonceRefused({ ...log({ code: 'OTAA', description: 'DevNonce', context: { dev_nonce: '7' } }), kind: 'up' })).toBe(false);
  });
});
