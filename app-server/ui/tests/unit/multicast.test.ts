import { describe, expect, test } from 'vitest';
import { groupOf, groupValues, slots } from '../../src/lib/multicast';

const group = {
  id: 'g', name: 'all', applicationId: 'a', region: 'EU868' as const, mcAddr: '01020304', mcNwkSKey: '01'.repeat(16), mcAppSKey: '02'.repeat(16), fCnt: 7,
  groupType: 'CLASS_B' as const, dr: 3, frequency: 868_100_000, classBPingSlotPeriodicity: 5, classCSchedulingType: 'DELAY' as const,
};

describe('multicast group', () => {
  test('a form gives back what it was given', () => {
    expect(groupOf(groupValues(group), 'a', 'g')).toEqual(group);
    const gps = { ...group, groupType: 'CLASS_C' as const, classCSchedulingType: 'GPS_TIME' as const };
    expect(groupValues(gps).mode).toBe('GPS_TIME');
    expect(groupOf(groupValues(gps), 'a', 'g')).toEqual(gps);
  });
  test('hex with spaces and capitals; what is no hex goes to the API as it is', () => {
    const v = { ...groupValues(group), mcAddr: '01 02 AB cd', mcAppSKey: 'no key' };
    expect(groupOf(v, 'a')).toMatchObject({ mcAddr: '0102abcd', mcAppSKey: 'no key' });
  });
  test('frequencies are whole Hz', () => expect(groupOf({ ...groupValues(group), frequency: 868.3 }, 'a').frequency).toBe(868_300_000));
  test('ping slots of a beacon period', () => expect([0, 3, 7].map(slots)).toEqual([128, 16, 1]));
});
