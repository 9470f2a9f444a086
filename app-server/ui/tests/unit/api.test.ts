import { describe, expect, it } from 'vitest';
import { fieldOf, snake, toApiError } from '../../src/api/errors';
import { listSearch } from '../../src/lib/list';
import { mayWriteApplication, mayWriteProfile, tenantRights, type Profile } from '../../src/lib/rights';
import de from '../../src/locales/de.json';
import en from '../../src/locales/en.json';

describe('errors stand at their field', () => {
  const device = ['name', 'devEui', 'joinEui', 'deviceProfileId', 'tags'];
  it.each([
    ['dev_eui is not an EUI of 16 hexadecimal digits', 'devEui'],
    ['join_eui is not an EUI of 16 hexadecimal digits', 'joinEui'],
    ['name is not set', 'name'],
    ['device_profile_id is missing', 'deviceProfileId'],
    ['device exists already', 'devEui'],
    ['the database is not available', undefined],
  ])('%s', (message, field) => expect(fieldOf(message, device, { device: 'devEui' })).toBe(field));
  it('words only as a whole', () => expect(fieldOf('username is taken', ['name'])).toBeUndefined());
  it('FPort', () => expect(fieldOf('FPort must be between 1 - 255', ['fPort', 'data'], { FPort: 'fPort' })).toBe('fPort'));
  it('snake case', () => expect(snake('fNwkSIntKey')).toBe('f_nwk_s_int_key'));
  it('errors of the API and of others', () => {
    expect(toApiError({ code: 6, message: 'device exists already', details: [] }, 409)).toMatchObject({ code: 6, status: 409, message: 'device exists already' });
    expect(toApiError('<html>', 502)).toMatchObject({ code: 2, message: 'HTTP 502' });
    expect(toApiError(undefined, 401).code).toBe(16);
  });
});

describe('rights', () => {
  const profile = (user: object, tenants: object[] = [], applications: object[] = []) =>
    ({ user: { id: 'u', email: 'a', note: '', isActive: true, isAdmin: false, ...user }, tenants, applications, deviceProfiles: [] }) as unknown as Profile;
  it('administrators may everything', () => expect(tenantRights(profile({ isAdmin: true }), 't')).toEqual({ admin: true, read: true, manage: true, devices: true, gateways: true }));
  it('unless they are disabled', () => expect(tenantRights(profile({ isAdmin: true, isActive: false }), 't')).toEqual({ admin: false, read: false, manage: false, devices: false, gateways: false }));
  it('roles in a tenant, and only in that', () => {
    const p = profile({}, [{ tenantId: 't', isAdmin: false, isDeviceAdmin: false, isGatewayAdmin: true }]);
    expect(tenantRights(p, 't')).toEqual({ admin: false, read: true, manage: false, devices: false, gateways: true });
    expect(tenantRights(p, 'other').read).toBe(false);
  });
  it('a grant of one application', () => {
    const p = profile({}, [{ tenantId: 't' }], [{ applicationId: 'a', isReadOnly: false }, { applicationId: 'b', isReadOnly: true }]);
    expect([mayWriteApplication(p, 't', 'a'), mayWriteApplication(p, 't', 'b'), mayWriteApplication(p, 't', 'c')]).toEqual([true, false, false]);
  });
  it('profiles for everyone belong to administrators', () => {
    expect(mayWriteProfile(profile({}, [{ tenantId: 't', isAdmin: true }]), '', 'p')).toBe(false);
    expect(mayWriteProfile(profile({ isAdmin: true }), '', 'p')).toBe(true);
  });
  it('nobody may nothing', () => expect(tenantRights(undefined, undefined).read).toBe(false));
});

it('list state from an address', () => {
  expect(listSearch({ q: 'a', page: '3', sort: 'NAME', desc: 'true', junk: 1 })).toEqual({ q: 'a', page: 3, sort: 'NAME', desc: true });
  expect(listSearch({ q: 123, page: 1 })).toEqual({ q: '123' });
  expect(listSearch({ page: -2, desc: 'no' })).toEqual({});
});

describe('languages', () => {
  const leaves = (o: object, path = ''): [string, string][] => Object.entries(o).flatMap(([k, v]) => (typeof v === 'string' ? [[path + k, v] as [string, string]] : leaves(v as object, `${path}${k}.`)));
  const [e, d] = [new Map(leaves(en)), new Map(leaves(de))];
  it('German has every text', () => expect([...d.keys()].sort()).toEqual([...e.keys()].sort()));
  it('with the same values in it', () => {
    const names = (s: string) => [...s.matchAll(/\{\{(\w+)\}\}/g)].map((m) => m[1]).sort();
    for (const [key, text] of e) expect(names(d.get(key) ?? ''), key).toEqual(names(text));
  });
});
