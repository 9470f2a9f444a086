/* MAC commands between a form's fields and the bytes on the air: vectors by the tables of the specification. */
import { describe, expect, it } from 'vitest';
import { bytesToHex, hexToBytes } from '../../src/lib/format';
import { cidText, decodeMac, emptyFields, encodeMac, fieldFits, fieldMax, MAC_COMMANDS, macBytes, macName, macText, parseCid, stepOf, type FieldValues, type MacInput } from '../../src/lib/mac';

const kind = (name: string) => MAC_COMMANDS.find((k) => k.name === name)!;

const vectors: [string, FieldValues, string][] = [
  ['DevStatusReq', {}, ''],
  ['LinkADRReq', { DataRate: 5, TXPower: 2, ChMask: 0x00ff, ChMaskCntl: 6, NbTrans: 3 }, '52ff0063'],
  ['DutyCycleReq', { MaxDutyCycle: 7 }, '07'],
  ['RXParamSetupReq', { RX1DROffset: 3, RX2DataRate: 2, Frequency: 869_525_000 }, '32d2ad84'],
  ['NewChannelReq', { ChIndex: 3, Frequency: 867_100_000, MinDR: 0, MaxDR: 5 }, '03184f8450'],
  ['RXTimingSetupReq', { Delay: 5 }, '05'],
  ['TxParamSetupReq', { MaxEIRP: 13, UplinkDwellTime: true, DownlinkDwellTime: false }, '1d'],
  ['TxParamSetupReq', { MaxEIRP: 0, UplinkDwellTime: false, DownlinkDwellTime: true }, '20'],
  ['DlChannelReq', { ChIndex: 1, Frequency: 869_525_000 }, '01d2ad84'],
  ['ADRParamSetupReq', { Limit_exp: 6, Delay_exp: 5 }, '65'],
  ['ForceRejoinReq', { RejoinType: 2, DR: 5, Period: 3, Max_Retries: 1 }, '2519'],
  ['RejoinParamSetupReq', { MaxTimeN: 10, MaxCountN: 4 }, 'a4'],
  ['PingSlotChannelReq', { Frequency: 869_525_000, DR: 3 }, 'd2ad8403'],
  ['BeaconFreqReq', { Frequency: 869_525_000 }, 'd2ad84'],
];

it('every command has a vector, there and back', () => {
  expect(new Set(vectors.map(([name]) => name))).toEqual(new Set(MAC_COMMANDS.map((k) => k.name)));
  for (const [name, values, hex] of vectors) {
    expect(bytesToHex(encodeMac(kind(name), values, 100)), name).toBe(hex);
    expect(decodeMac(kind(name), hexToBytes(hex)!, 100), name).toEqual(values);
  }
});

it('in the 2.4 GHz band frequencies count in 200 Hz', () => {
  expect([stepOf('ISM2400'), stepOf('EU868'), stepOf(undefined)]).toEqual([200, 100, 100]);
  const payload = encodeMac(kind('BeaconFreqReq'), { Frequency: 2_424_000_000 }, 200);
  expect(bytesToHex(payload)).toBe('c0efb8'); // 12,120,000
  expect(decodeMac(kind('BeaconFreqReq'), payload, 200)).toEqual({ Frequency: 2_424_000_000 });
});

it('a value that the field cannot hold does not fit', () => {
  const [rate] = kind('LinkADRReq').fields;
  const [frequency] = kind('BeaconFreqReq').fields;
  expect([0, 15, '7'].every((v) => fieldFits(rate!, v, 100))).toBe(true);
  expect([-1, 16, 1.5, '', 'x', undefined].some((v) => fieldFits(rate!, v, 100))).toBe(false);
  expect(fieldFits(frequency!, 869_525_000, 100)).toBe(true);
  expect(fieldFits(frequency!, 869_525_050, 100)).toBe(false);
  expect(fieldFits(frequency!, fieldMax(frequency!, 100) + 100, 100)).toBe(false);
});

describe('what a form gives', () => {
  const given = (members: Partial<MacInput>) => {
    const bytes = macBytes({ kind: undefined, mode: 'fields', cid: '80', payload: '', fields: {}, ...members }, 100);
    return bytes && bytesToHex(bytes);
  };
  it('goes out identifier first: by fields, in hex, by identifier', () => {
    expect(given({ kind: kind('DevStatusReq') })).toBe('06');
    expect(given({ kind: kind('DutyCycleReq'), fields: { MaxDutyCycle: 5 }, payload: 'ff' })).toBe('0405');
    expect(given({ kind: kind('DutyCycleReq'), mode: 'hex', fields: { MaxDutyCycle: 5 }, payload: '0a' })).toBe('040a');
    expect(given({ cid: '0x81', payload: 'c0 ff ee' })).toBe('81c0ffee');
    expect(given({ cid: '80' })).toBe('80');
  });
  it('is nothing while something does not fit', () => {
    expect(given({ kind: kind('DutyCycleReq'), fields: { MaxDutyCycle: 16 } })).toBeUndefined();
    expect(given({ kind: kind('DutyCycleReq'), fields: emptyFields(kind('DutyCycleReq')) })).toBeUndefined();
    for (const payload of ['', '0102', '0', 'x']) expect(given({ kind: kind('DutyCycleReq'), mode: 'hex', payload }), payload).toBeUndefined();
    expect(given({ cid: 'x' })).toBeUndefined();
    expect(given({ cid: '80', payload: '0' })).toBeUndefined();
  });
  it('begins empty: numbers not chosen, switches off', () => {
    expect(emptyFields(kind('TxParamSetupReq'))).toEqual({ MaxEIRP: '', UplinkDwellTime: false, DownlinkDwellTime: false });
    expect(emptyFields(undefined)).toEqual({});
  });
});

it('identifiers', () => {
  expect(['80', '0x80', '0xFf', '6'].map(parseCid)).toEqual([0x80, 0x80, 0xff, 6]);
  expect(['', '100', 'zz', '0x'].map(parseCid)).toEqual([undefined, undefined, undefined, undefined]);
  expect(cidText(0x0e)).toBe('0x0E');
  expect(macName({ cid: 0x80, name: '' })).toBe('CID 0x80');
  expect(macName({ cid: 3, name: 'LinkADRReq' })).toBe('LinkADRReq');
  expect(macText({ name: '', text: 'c0ffee' })).toBe('c0 ff ee');
  expect(macText({ name: 'DutyCycleReq', text: 'max_duty_cycle=1/32' })).toBe('max_duty_cycle=1/32');
});
