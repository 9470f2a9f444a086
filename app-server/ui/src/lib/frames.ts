/* Frames as the live streams send them (longwave.ns.v1.Frame in proto3 JSON; the streams are not part of the OpenAPI
 * document, so their types stand here), and how records of one downlink become one row. Pure. */
import { toTime } from './format';
import { macName } from './mac';

export interface Modulation {
  lora?: { bandwidth: number; spreadingFactor: number; codeRate?: string } | null;
  fsk?: { datarate: number; frequencyDeviation?: number } | null;
  lrFhss?: { operatingChannelWidth: number; codeRate?: string } | null;
}
export interface RxInfo {
  gatewayId: string;
  rssi: number;
  snr: number;
  channel?: number;
  board?: number;
  antenna?: number;
  gwTime?: string | null;
  fineTimeSinceGpsEpoch?: string | null;
  crcStatus?: string;
}
export interface DownlinkTxInfo {
  frequency: number;
  power: number;
  modulation?: Modulation | null;
  timing?: { immediately?: object | null; delay?: { delay: string } | null; gpsEpoch?: { timeSinceGpsEpoch: string } | null } | null;
}
export interface MacCommand {
  cid: number;
  name: string;
  uplink: boolean;
  text: string;
}
/** A gateway that a downlink could have gone through, with what was thought of each receive window there. */
export interface Considered {
  gatewayId: string;
  /** Tenths of a dB above the demodulation floor. */
  marginDdb: number;
  chosen: boolean;
  /** 1: asked first; 0: not asked. */
  offer: number;
  verdicts: { window: string; text: string; offered: boolean; answer: string }[];
}
export interface FrameStep {
  name: string;
  afterUs: number;
  text: string;
}
export interface Frame {
  id: string;
  time: string | null;
  uplink: boolean;
  fType: string;
  devEui: string;
  devAddr: string;
  phyPayload: string;
  txInfo: { frequency: number; modulation?: Modulation | null } | null;
  rxInfo: RxInfo[];
  downlinkTxInfo: DownlinkTxInfo[];
  gatewayId: string;
  downlinkId: number;
  taken: number;
  fCnt: number;
  fPort: number;
  dr: number;
  confirmed: boolean;
  ack: boolean;
  adr: boolean;
  outcome: string;
  reason: string;
  detail: string;
  deduplicationId: string;
  macCommands: MacCommand[];
  steps: FrameStep[];
  regionConfigId: string;
  considered: Considered[];
}

const EMPTY: Frame = {
  id: '', time: null, uplink: false, fType: '', devEui: '', devAddr: '', phyPayload: '', txInfo: null, rxInfo: [],
  downlinkTxInfo: [], gatewayId: '', downlinkId: 0, taken: -1, fCnt: 0, fPort: 0, dr: 0, confirmed: false, ack: false,
  adr: false, outcome: 'OUTCOME_UNSPECIFIED', reason: 'REASON_NONE', detail: '', deduplicationId: '', macCommands: [],
  steps: [], regionConfigId: '', considered: [],
}; // prettier-ignore

/** A frame with every member; undefined when the text is none. `id` is the stream's own when the frame has none. */
export function readFrame(text: string, id: string): Frame | undefined {
  try {
    const raw: unknown = JSON.parse(text);
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return undefined;
    const set = Object.fromEntries(Object.entries(raw).filter(([, v]) => v !== null && v !== undefined));
    const frame = { ...EMPTY, ...set } as Frame;
    return { ...frame, id: frame.id || id };
  } catch {
    return undefined;
  }
}

/** One row has one key: all records of a downlink share it. */
export function frameKey(f: Frame): string {
  return !f.uplink && f.downlinkId ? `d${f.downlinkId}` : `f${f.id}`;
}

/** The later record of a downlink completes the earlier one: what it leaves empty stays as it was. */
export function completeFrame(earlier: Frame, later: Frame): Frame {
  const steps = [...earlier.steps];
  for (const s of later.steps) if (!steps.some((x) => x.name === s.name && x.afterUs === s.afterUs && x.text === s.text)) steps.push(s);
  const keep = <K extends keyof Frame>(k: K, empty: (v: Frame[K]) => boolean) => (empty(later[k]) ? earlier[k] : later[k]);
  const none = (v: string | number) => !v;
  const noList = (v: readonly unknown[]) => v.length === 0;
  return {
    ...earlier,
    outcome: later.outcome === EMPTY.outcome ? earlier.outcome : later.outcome,
    reason: later.outcome === EMPTY.outcome ? earlier.reason : later.reason,
    detail: keep('detail', none),
    taken: later.taken >= 0 ? later.taken : earlier.taken,
    fType: keep('fType', none),
    phyPayload: keep('phyPayload', none),
    devEui: keep('devEui', none),
    devAddr: keep('devAddr', none),
    gatewayId: keep('gatewayId', none),
    fCnt: keep('fCnt', none),
    fPort: keep('fPort', none),
    dr: keep('dr', none),
    confirmed: earlier.confirmed || later.confirmed,
    ack: earlier.ack || later.ack,
    adr: earlier.adr || later.adr,
    downlinkTxInfo: keep('downlinkTxInfo', noList),
    macCommands: keep('macCommands', noList),
    considered: keep('considered', noList),
    steps,
  };
}

/** Rows newest first, with further frames (oldest first) taken in; at most `limit`. The same record twice changes nothing. */
export function mergeFrames(rows: readonly Frame[], more: readonly Frame[], limit: number): Frame[] {
  const out = [...rows];
  const at = new Map(out.map((f, i) => [frameKey(f), i]));
  const fresh: Frame[] = [];
  const freshAt = new Map<string, number>();
  for (const f of more) {
    const key = frameKey(f);
    const old = at.get(key);
    const young = freshAt.get(key);
    if (old !== undefined) {
      const before = out[old]!;
      if (before.id !== f.id || !f.uplink) out[old] = completeFrame(before, f);
    } else if (young !== undefined) fresh[young] = completeFrame(fresh[young]!, f);
    else freshAt.set(key, fresh.push(f) - 1);
  }
  return [...fresh.reverse(), ...out].slice(0, limit);
}

/** The reception with the best signal: highest SNR, then RSSI. */
export function bestReception(list: readonly RxInfo[]): RxInfo | undefined {
  return list.reduce<RxInfo | undefined>((best, r) => (!best || r.snr > best.snr || (r.snr === best.snr && r.rssi > best.rssi) ? r : best), undefined);
}

/** Code rates of LR-FHSS, whose data rates differ by nothing else; their names are those of LoRa. */
const LR_FHSS_RATES: Record<string, string> = { CR_2_6: ' CR 1/3', CR_4_6: ' CR 2/3' };

/** "SF7 125 kHz", "FSK 50 kbit/s", "LR-FHSS 137 kHz CR 1/3". */
export function modulationName(m: Modulation | null | undefined): string {
  if (m?.lora) return `SF${m.lora.spreadingFactor} ${m.lora.bandwidth / 1000} kHz`;
  if (m?.fsk) return `FSK ${m.fsk.datarate / 1000} kbit/s`;
  if (m?.lrFhss) return `LR-FHSS ${Math.round(m.lrFhss.operatingChannelWidth / 1000)} kHz${LR_FHSS_RATES[m.lrFhss.codeRate ?? ''] ?? ''}`;
  return '';
}

export interface FrameFilter {
  text: string;
  direction: 'all' | 'up' | 'down';
  outcome: string;
}

export function matchesFilter(f: Frame, filter: FrameFilter): boolean {
  if (filter.direction !== 'all' && f.uplink !== (filter.direction === 'up')) return false;
  if (filter.outcome && f.outcome !== filter.outcome) return false;
  const text = filter.text.trim().toLowerCase();
  if (!text) return true;
  const words = [f.fType, f.devEui, f.devAddr, f.gatewayId, f.reason, f.detail, String(f.fCnt), ...f.rxInfo.map((r) => r.gatewayId), ...f.considered.map((c) => c.gatewayId), ...f.macCommands.map(macName)];
  return words.some((w) => w.toLowerCase().includes(text) || w.replace(/_/g, '').toLowerCase().includes(text));
}

export const frameTime = (f: Frame) => toTime(f.time);

export type Tone = 'ok' | 'warn' | 'bad' | 'off';

/** The colour of an outcome, always shown beside its word. */
export function outcomeTone(outcome: string): Tone {
  if (outcome === 'DELIVERED') return 'ok';
  if (outcome === 'DROPPED') return 'bad';
  return outcome === 'DUPLICATE' ? 'warn' : 'off';
}
