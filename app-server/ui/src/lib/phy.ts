/* Takes a LoRaWAN PHYPayload apart into named fields with their place, for the hex view. Pure; needs no keys, so
 * encrypted parts stay bytes. Field order and bits: LoRaWAN 1.1, chapter 4. */
import { bytesToHex } from './format';

export interface PhyField {
  name: string;
  start: number;
  /** One past the last byte. */
  end: number;
  value: string;
}

export interface Phy {
  type: string;
  uplink: boolean | undefined;
  fields: PhyField[];
  /** What is wrong with the bytes, if anything. */
  problem?: string;
}

const TYPES = ['JoinRequest', 'JoinAccept', 'UnconfirmedDataUp', 'UnconfirmedDataDown', 'ConfirmedDataUp', 'ConfirmedDataDown', 'RejoinRequest', 'Proprietary'] as const;

const reversed = (b: Uint8Array) => bytesToHex(b.slice().reverse());
const number = (b: Uint8Array) => b.reduceRight((sum, x) => sum * 256 + x, 0);

class Reader {
  readonly fields: PhyField[] = [];
  constructor(
    readonly bytes: Uint8Array,
    private at: number,
    readonly end: number,
  ) {}

  get left(): number {
    return this.end - this.at;
  }

  take(name: string, n: number, show: (b: Uint8Array) => string): Uint8Array | undefined {
    if (this.left < n) return undefined;
    const part = this.bytes.subarray(this.at, this.at + n);
    this.fields.push({ name, start: this.at, end: this.at + n, value: show(part) });
    this.at += n;
    return part;
  }

  /** A field that has everything up to n bytes before the end; nothing when that is empty. */
  rest(name: string, show: (b: Uint8Array) => string): void {
    if (this.left > 0) this.take(name, this.left, show);
  }
}

function fctrl(b: number, uplink: boolean): string {
  const bits: string[] = [];
  if (b & 0x80) bits.push('ADR');
  if (uplink && b & 0x40) bits.push('ADRACKReq');
  if (b & 0x20) bits.push('ACK');
  if (b & 0x10) bits.push(uplink ? 'ClassB' : 'FPending');
  return [...bits, `FOptsLen=${b & 0x0f}`].join(' ');
}

function data(r: Reader, uplink: boolean): string | undefined {
  const complete = r.take('DevAddr', 4, reversed) && r.take('FCtrl', 1, (b) => fctrl(b[0]!, uplink));
  const control = r.bytes[5] ?? 0;
  if (!complete || !r.take('FCnt', 2, (b) => String(number(b)))) return 'short';
  const options = control & 0x0f;
  if (options > 0 && !r.take('FOpts', options, bytesToHex)) return 'short';
  const port = r.take('FPort', 1, (b) => String(b[0]));
  if (port) r.rest(port[0] === 0 ? 'MACPayload' : 'FRMPayload', bytesToHex);
  return undefined;
}

function join(r: Reader): string | undefined {
  const all = r.take('JoinEUI', 8, reversed) && r.take('DevEUI', 8, reversed) && r.take('DevNonce', 2, (b) => String(number(b)));
  return all && r.left === 0 ? undefined : all ? 'long' : 'short';
}

function rejoin(r: Reader): string | undefined {
  const type = r.take('RejoinType', 1, (b) => String(b[0]))?.[0];
  const first = type === 1 ? r.take('JoinEUI', 8, reversed) : r.take('NetID', 3, reversed);
  const all = first && r.take('DevEUI', 8, reversed) && r.take(type === 1 ? 'RJcount1' : 'RJcount0', 2, (b) => String(number(b)));
  return all && r.left === 0 ? undefined : all ? 'long' : 'short';
}

export function parsePhy(bytes: Uint8Array): Phy {
  const head = bytes[0];
  if (head === undefined) return { type: '', uplink: undefined, fields: [], problem: 'empty' };
  const mtype = head >> 5;
  const type = TYPES[mtype]!;
  const uplink = mtype === 7 ? undefined : mtype === 0 || mtype === 2 || mtype === 4 || mtype === 6;
  const mhdr: PhyField = { name: 'MHDR', start: 0, end: 1, value: `${type} major=${head & 3}` };
  if (mtype === 7) {
    const fields = bytes.length > 1 ? [mhdr, { name: 'MACPayload', start: 1, end: bytes.length, value: bytesToHex(bytes.subarray(1)) }] : [mhdr];
    return { type, uplink, fields };
  }
  // A join-accept is encrypted as a whole, its MIC with it.
  const micAt = mtype === 1 ? bytes.length : bytes.length - 4;
  if (micAt < 1) return { type, uplink, fields: [mhdr], problem: 'short' };
  const r = new Reader(bytes, 1, micAt);
  let problem: string | undefined;
  if (mtype === 0) problem = join(r);
  else if (mtype === 1) problem = bytes.length === 17 || bytes.length === 33 ? undefined : 'short';
  else if (mtype === 6) problem = rejoin(r);
  else problem = data(r, uplink === true);
  r.rest(mtype === 1 ? 'Encrypted' : 'Rest', bytesToHex);
  const fields = [mhdr, ...r.fields];
  if (mtype !== 1) fields.push({ name: 'MIC', start: micAt, end: bytes.length, value: bytesToHex(bytes.subarray(micAt)) });
  return problem ? { type, uplink, fields, problem } : { type, uplink, fields };
}
