/* The MAC commands that a network sends, field by field, between a form and the bytes on the air. A payload is one number,
 * least significant byte first; a field is some of its bits (TS001-1.0.4 and TS001-1.1, chapter 5, and class B). What came is
 * not read here: the network-server says it in words. Pure. */
import { groupByTwo, hexToBytes } from './format';

export interface MacField {
  /** As the specification calls it. */
  name: string;
  /** Lowest bit, and how many. */
  at: number;
  bits: number;
  /** A frequency: counts in steps of the region, shown in Hz. */
  hz?: boolean;
  /** One bit, shown as a switch. */
  flag?: boolean;
}

export interface MacCommandKind {
  cid: number;
  name: string;
  length: number;
  fields: readonly MacField[];
  group: 'usual' | 'v11' | 'classB';
  /** The network-server sets this itself from profile and region, and will again. */
  managed?: boolean;
}

const f = (name: string, at: number, bits: number): MacField => ({ name, at, bits });
const hz = (name: string, at: number): MacField => ({ name, at, bits: 24, hz: true });
const flag = (name: string, at: number): MacField => ({ name, at, bits: 1, flag: true });

export const MAC_COMMANDS: readonly MacCommandKind[] = [
  { cid: 0x06, name: 'DevStatusReq', length: 0, group: 'usual', fields: [] },
  { cid: 0x03, name: 'LinkADRReq', length: 4, group: 'usual', managed: true, fields: [f('DataRate', 4, 4), f('TXPower', 0, 4), f('ChMask', 8, 16), f('ChMaskCntl', 28, 3), f('NbTrans', 24, 4)] },
  { cid: 0x04, name: 'DutyCycleReq', length: 1, group: 'usual', managed: true, fields: [f('MaxDutyCycle', 0, 4)] },
  { cid: 0x05, name: 'RXParamSetupReq', length: 4, group: 'usual', managed: true, fields: [f('RX1DROffset', 4, 3), f('RX2DataRate', 0, 4), hz('Frequency', 8)] },
  { cid: 0x07, name: 'NewChannelReq', length: 5, group: 'usual', managed: true, fields: [f('ChIndex', 0, 8), hz('Frequency', 8), f('MinDR', 32, 4), f('MaxDR', 36, 4)] },
  { cid: 0x08, name: 'RXTimingSetupReq', length: 1, group: 'usual', managed: true, fields: [f('Delay', 0, 4)] },
  { cid: 0x09, name: 'TxParamSetupReq', length: 1, group: 'usual', managed: true, fields: [f('MaxEIRP', 0, 4), flag('UplinkDwellTime', 4), flag('DownlinkDwellTime', 5)] },
  { cid: 0x0a, name: 'DlChannelReq', length: 4, group: 'usual', managed: true, fields: [f('ChIndex', 0, 8), hz('Frequency', 8)] },
  { cid: 0x0c, name: 'ADRParamSetupReq', length: 1, group: 'v11', managed: true, fields: [f('Limit_exp', 4, 4), f('Delay_exp', 0, 4)] },
  { cid: 0x0e, name: 'ForceRejoinReq', length: 2, group: 'v11', fields: [f('RejoinType', 4, 3), f('DR', 0, 4), f('Period', 11, 3), f('Max_Retries', 8, 3)] },
  { cid: 0x0f, name: 'RejoinParamSetupReq', length: 1, group: 'v11', managed: true, fields: [f('MaxTimeN', 4, 4), f('MaxCountN', 0, 4)] },
  { cid: 0x11, name: 'PingSlotChannelReq', length: 4, group: 'classB', managed: true, fields: [hz('Frequency', 0), f('DR', 24, 4)] },
  { cid: 0x13, name: 'BeaconFreqReq', length: 3, group: 'classB', managed: true, fields: [hz('Frequency', 0)] },
];

export type FieldValues = Record<string, number | string | boolean>;

const top = (field: MacField) => 2 ** field.bits - 1;

/** The largest value that a form takes for a field. */
export const fieldMax = (field: MacField, stepHz: number): number => (field.hz ? top(field) * stepHz : top(field));

/** Frequencies on the air count in steps of 100 Hz; of 200 Hz in the 2.4 GHz band. */
export const stepOf = (region: string | undefined): number => (region === 'ISM2400' ? 200 : 100);

/** Whether a value fits its field: a whole number in its range, a frequency that the step divides. */
export function fieldFits(field: MacField, value: number | string | boolean | undefined, stepHz: number): boolean {
  const n = typeof value === 'string' ? (value.trim() === '' ? NaN : Number(value)) : Number(value ?? NaN);
  return Number.isInteger(n) && n >= 0 && n <= fieldMax(field, stepHz) && (!field.hz || n % stepHz === 0);
}

/** The payload; values must fit. Sums stay below 2^40, so that numbers are exact. */
export function encodeMac(kind: MacCommandKind, values: FieldValues, stepHz: number): Uint8Array {
  let sum = 0;
  for (const field of kind.fields) {
    const v = Number(values[field.name] ?? 0);
    sum += (field.hz ? Math.round(v / stepHz) : v) * 2 ** field.at;
  }
  return Uint8Array.from({ length: kind.length }, (_, i) => Math.floor(sum / 2 ** (8 * i)) % 256);
}

/** The fields of a payload of the right length. */
export function decodeMac(kind: MacCommandKind, payload: Uint8Array, stepHz: number): FieldValues {
  const sum = payload.reduceRight((s, b) => s * 256 + b, 0);
  const values: FieldValues = {};
  for (const field of kind.fields) {
    const v = Math.floor(sum / 2 ** field.at) % 2 ** field.bits;
    values[field.name] = field.flag ? v === 1 : field.hz ? v * stepHz : v;
  }
  return values;
}

/** What a form gives: a command of the list by its fields or in hex, or any other by its identifier and in hex. */
export interface MacInput {
  kind: MacCommandKind | undefined;
  mode: 'fields' | 'hex';
  cid: string;
  payload: string;
  fields: FieldValues;
}

/** Nothing is filled in: no command goes out with a value that nobody chose. */
export const emptyFields = (kind: MacCommandKind | undefined): FieldValues => Object.fromEntries((kind?.fields ?? []).map((f) => [f.name, f.flag ? false : '']));

/** The command as it goes out, identifier first; undefined while something does not fit. */
export function macBytes({ kind, mode, cid, payload, fields }: MacInput, stepHz: number): Uint8Array | undefined {
  const head = kind ? kind.cid : parseCid(cid);
  const rest = kind && mode === 'fields' ? (kind.fields.every((f) => fieldFits(f, fields[f.name], stepHz)) ? encodeMac(kind, fields, stepHz) : undefined) : hexToBytes(payload);
  if (head === undefined || !rest || (kind && rest.length !== kind.length)) return undefined;
  return Uint8Array.from([head, ...rest]);
}

/** One byte in hexadecimal, "80" or "0x80". */
export function parseCid(text: string): number | undefined {
  const m = /^(?:0x)?([0-9a-f]{1,2})$/i.exec(text.trim());
  return m ? parseInt(m[1]!, 16) : undefined;
}

export const cidText = (cid: number): string => `0x${cid.toString(16).padStart(2, '0').toUpperCase()}`;

/** "LinkADRReq"; "CID 0x80" for one without a name. */
export const macName = (m: { cid: number; name: string }): string => m.name || `CID ${cidText(m.cid)}`;

/** What a command says: its values by name; of one without a name its bytes. */
export const macText = (m: { name: string; text: string }): string => (m.name ? m.text : groupByTwo(m.text));
