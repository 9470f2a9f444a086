import { describe, expect, it } from 'vitest';
import { hexToBytes } from '../../src/lib/format';
import { parsePhy, type Phy } from '../../src/lib/phy';

const parse = (hex: string) => parsePhy(hexToBytes(hex)!);
const value = (phy: Phy, name: string) => phy.fields.find((f) => f.name === name)?.value;
/** Every byte belongs to exactly one field, in order. */
function covers(phy: Phy, bytes: number) {
  let at = 0;
  for (const f of phy.fields) {
    expect(f.start).toBe(at);
    expect(f.end).toBeGreaterThan(f.start);
    at = f.end;
  }
  expect(at).toBe(bytes);
}

describe('data frames', () => {
  it('takes a confirmed uplink apart', () => {
    const phy = parse('8081fdb70100220002 2a4fa6afa7ee566e ee551ee6');
    expect(phy).toMatchObject({ type: 'ConfirmedDataUp', uplink: true });
    expect(phy.problem).toBeUndefined();
    expect(value(phy, 'DevAddr')).toBe('01b7fd81');
    expect(value(phy, 'FCtrl')).toBe('FOptsLen=0');
    expect(value(phy, 'FCnt')).toBe('34');
    expect(value(phy, 'FPort')).toBe('2');
    expect(value(phy, 'FRMPayload')).toBe('2a4fa6afa7ee566e');
    expect(value(phy, 'MIC')).toBe('ee551ee6');
    covers(phy, 21);
  });
  it('names control bits by direction', () => {
    expect(value(parse('40 04030201 f2 0100 aabb 11223344'), 'FCtrl')).toBe('ADR ADRACKReq ACK ClassB FOptsLen=2');
    expect(value(parse('60 04030201 b0 0100 11223344'), 'FCtrl')).toBe('ADR ACK FPending FOptsLen=0');
  });
  it('finds FOpts, and no port where there is none', () => {
    const phy = parse('60 04030201 03 0500 020a01 11223344');
    expect(phy.type).toBe('UnconfirmedDataDown');
    expect(value(phy, 'FOpts')).toBe('020a01');
    expect(value(phy, 'FPort')).toBeUndefined();
    covers(phy, 15);
  });
  it('port 0 carries MAC commands', () => expect(value(parse('40 04030201 00 0500 00 0203 11223344'), 'MACPayload')).toBe('0203'));
  it('reports FOpts that are longer than the frame', () => {
    const phy = parse('40 04030201 0f 0500 11223344');
    expect(phy.problem).toBe('short');
    covers(phy, 12);
  });
});

describe('join', () => {
  it('request', () => {
    const phy = parse('00 0807060504030201 1817161514131211 0201 aabbccdd');
    expect(phy).toMatchObject({ type: 'JoinRequest', uplink: true });
    expect(phy.problem).toBeUndefined();
    expect(value(phy, 'JoinEUI')).toBe('0102030405060708');
    expect(value(phy, 'DevEUI')).toBe('1112131415161718');
    expect(value(phy, 'DevNonce')).toBe('258');
    covers(phy, 23);
  });
  it('a request with one byte too many', () => {
    const phy = parse('00 0807060504030201 1817161514131211 0201 ff aabbccdd');
    expect(phy.problem).toBe('long');
    covers(phy, 24);
  });
  it('accept is one encrypted block', () => {
    const phy = parse(`20${'ab'.repeat(16)}`);
    expect(phy).toMatchObject({ type: 'JoinAccept', uplink: false });
    expect(phy.fields.map((f) => f.name)).toEqual(['MHDR', 'Encrypted']);
    covers(phy, 17);
  });
  it('rejoin types', () => {
    expect(value(parse('c0 00 030201 1817161514131211 0700 aabbccdd'), 'NetID')).toBe('010203');
    expect(value(parse('c0 01 0807060504030201 1817161514131211 0700 aabbccdd'), 'RJcount1')).toBe('7');
  });
});

describe('anything', () => {
  it('proprietary', () => expect(parse('e0 0102').fields.map((f) => f.name)).toEqual(['MHDR', 'MACPayload']));
  it('nothing', () => expect(parse('')).toMatchObject({ problem: 'empty', fields: [] }));
  it('never fails and covers every byte of whatever comes', () => {
    let seed = 7;
    const random = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
    for (let i = 0; i < 3000; i++) {
      const bytes = Uint8Array.from({ length: 1 + Math.floor(random() * 40) }, () => Math.floor(random() * 256));
      const phy = parsePhy(bytes);
      if (phy.fields.length > 1) covers(phy, bytes.length);
    }
  });
});
