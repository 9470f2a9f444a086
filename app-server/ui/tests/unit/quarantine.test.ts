import { expect, it } from 'vitest';
import { holding } from '../../src/lib/quarantine';

it('a quarantine holds until its end, and no longer', () => {
  const until = '2026-01-01T12:00:00Z';
  const end = Date.parse(until);
  expect(holding({ until }, end - 1)).toEqual({ until });
  expect(holding({ until }, end)).toBeUndefined();
  expect(holding({ until: null }, 0)).toBeUndefined();
  expect(holding(null, 0)).toBeUndefined();
  expect(holding(undefined, 0)).toBeUndefined();
});
