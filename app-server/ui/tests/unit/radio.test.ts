import { describe, expect, it } from 'vitest';
import { parseChannels, radioOf, radioValues, type Radio } from '../../src/lib/radio';

const full = {
  adr: { mode: 'STATIC', bounds: null, dr: 3, txPowerIndex: 2, nbTrans: 2 },
  mac: {
    dutyCycle: { maxDutyCycle: 0 },
    adrAck: { limitExp: 5, delayExp: 4 },
    txParams: { uplinkDwellTime400ms: true, downlinkDwellTime400ms: false, maxEirpDbm: 14 },
    rejoin: { maxTimeN: 3, maxCountN: 2 },
    beaconFreqHz: 869525000,
    downlinkChannels: [
      { index: 0, freqHz: 869525000 },
      { index: 2, freqHz: 868100000 },
    ],
  },
} as Radio;

describe('radio settings', () => {
  it('come back as they were', () => {
    const { bounds, ...adr } = full.adr!;
    expect(bounds).toBeNull();
    expect(radioOf(radioValues(full))).toEqual({ adr, mac: full.mac });
  });

  it('say nothing where nothing is set', () => {
    expect(radioOf(radioValues({ adr: null, mac: null }))).toEqual({ adr: { mode: 'DYNAMIC' }, mac: { beaconFreqHz: 0, downlinkChannels: [] } });
    expect(radioOf(radioValues(undefined)).mac?.dutyCycle).toBeUndefined();
  });

  it('keep to the mode', () => {
    const v = { ...radioValues(undefined), minDr: 2 as const, dr: 4 };
    expect(radioOf(v).adr).toEqual({ mode: 'DYNAMIC', bounds: { minDr: 2, maxDr: 15 } });
    expect(radioOf({ ...v, mode: 'STATIC' }).adr).toEqual({ mode: 'STATIC', dr: 4, txPowerIndex: 0, nbTrans: 1 });
    expect(radioOf({ ...v, mode: 'OFF' }).adr).toEqual({ mode: 'OFF' });
  });

  it('read channels a line, and nothing else', () => {
    expect(parseChannels(' 0 869525000\n\n1: 868300000 ')).toEqual([
      { index: 0, freqHz: 869525000 },
      { index: 1, freqHz: 868300000 },
    ]);
    expect(parseChannels('')).toEqual([]);
    expect(parseChannels('0')).toBeUndefined();
    expect(parseChannels('x 869525000')).toBeUndefined();
  });
});
