/* Radio settings of a device profile between the API's form (members that are unset follow the region) and a form's
 * flat fields ('' is unset). Pure. */
import type { Schemas } from '../api/client';

export type Radio = Schemas['longwave.app.v1.DeviceProfileRadio'];
type Num = number | '';

export interface RadioValues extends Record<string, unknown> {
  mode: 'DYNAMIC' | 'STATIC' | 'OFF';
  minDr: Num;
  maxDr: Num;
  dr: number;
  txPowerIndex: number;
  nbTrans: number;
  maxDutyCycle: string;
  limitExp: Num;
  delayExp: Num;
  maxEirpDbm: Num;
  uplinkDwell: boolean;
  downlinkDwell: boolean;
  maxTimeN: Num;
  maxCountN: Num;
  beaconFreqHz: number;
  downlinkChannels: string;
}

export function radioValues(r: Radio | null | undefined): RadioValues {
  const { adr, mac } = r ?? {};
  return {
    mode: adr?.mode ?? 'DYNAMIC',
    minDr: adr?.bounds ? adr.bounds.minDr : '',
    maxDr: adr?.bounds ? adr.bounds.maxDr : '',
    dr: adr?.dr ?? 0,
    txPowerIndex: adr?.txPowerIndex ?? 0,
    nbTrans: adr?.nbTrans || 1,
    maxDutyCycle: mac?.dutyCycle ? String(mac.dutyCycle.maxDutyCycle) : '',
    limitExp: mac?.adrAck ? mac.adrAck.limitExp : '',
    delayExp: mac?.adrAck ? mac.adrAck.delayExp : '',
    maxEirpDbm: mac?.txParams ? mac.txParams.maxEirpDbm : '',
    uplinkDwell: mac?.txParams?.uplinkDwellTime400ms ?? false,
    downlinkDwell: mac?.txParams?.downlinkDwellTime400ms ?? false,
    maxTimeN: mac?.rejoin ? mac.rejoin.maxTimeN : '',
    maxCountN: mac?.rejoin ? mac.rejoin.maxCountN : '',
    beaconFreqHz: mac?.beaconFreqHz ?? 0,
    downlinkChannels: (mac?.downlinkChannels ?? []).map((c) => `${c.index} ${c.freqHz}`).join('\n'),
  };
}

/** "0 869525000" a line; undefined when a line is something else. */
export function parseChannels(text: string): { index: number; freqHz: number }[] | undefined {
  const lines = text.split('\n').map((l) => l.trim()).filter((l) => l !== '');
  const parsed = lines.map((l) => /^(\d+)[\s:=,]+(\d+)$/.exec(l));
  if (parsed.some((m) => m === null)) return undefined;
  return parsed.map((m) => ({ index: Number(m![1]), freqHz: Number(m![2]) }));
}

/** One of a pair that is unset counts with the standard's own value. */
const pair = (a: Num, b: Num, a0: number, b0: number): [number, number] | undefined => (a === '' && b === '' ? undefined : [a === '' ? a0 : a, b === '' ? b0 : b]);

export function radioOf(v: RadioValues): Schemas['longwave.app.v1.DeviceProfileRadio.Input'] {
  const bounds = pair(v.minDr, v.maxDr, 0, 15);
  const ack = pair(v.limitExp, v.delayExp, 6, 5);
  const rejoin = pair(v.maxTimeN, v.maxCountN, 15, 15);
  return {
    adr: {
      mode: v.mode,
      ...(v.mode === 'DYNAMIC' && bounds ? { bounds: { minDr: bounds[0], maxDr: bounds[1] } } : {}),
      ...(v.mode === 'STATIC' ? { dr: v.dr, txPowerIndex: v.txPowerIndex, nbTrans: v.nbTrans } : {}),
    },
    mac: {
      ...(v.maxDutyCycle === '' ? {} : { dutyCycle: { maxDutyCycle: Number(v.maxDutyCycle) } }),
      ...(ack ? { adrAck: { limitExp: ack[0], delayExp: ack[1] } } : {}),
      ...(v.maxEirpDbm === '' ? {} : { txParams: { maxEirpDbm: v.maxEirpDbm, uplinkDwellTime400ms: v.uplinkDwell, downlinkDwellTime400ms: v.downlinkDwell } }),
      ...(rejoin ? { rejoin: { maxTimeN: rejoin[0], maxCountN: rejoin[1] } } : {}),
      beaconFreqHz: v.beaconFreqHz,
      downlinkChannels: parseChannels(v.downlinkChannels) ?? [],
    },
  };
}
