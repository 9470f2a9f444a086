/* A multicast group between the API and a form's fields. Pure. */
import type { Schemas } from '../api/client';
import { parseHex } from './format';

export type Group = Schemas['api.MulticastGroup'];

/** How the group's devices listen, and its gateways send. */
export type Mode = 'SPACED' | 'GPS_TIME' | 'CLASS_B';

export interface GroupValues extends Record<string, unknown> {
  name: string;
  region: string;
  mode: Mode;
  mcAddr: string;
  mcNwkSKey: string;
  mcAppSKey: string;
  fCnt: number;
  dr: number;
  frequency: number;
  periodicity: string;
}

/** Ping slots in a beacon period of 128 s. */
export const slots = (periodicity: number): number => 2 ** (7 - periodicity);

export function groupValues(g?: Group): GroupValues {
  return {
    name: g?.name ?? '',
    region: g?.region ?? 'EU868',
    mode: g?.groupType === 'CLASS_B' ? 'CLASS_B' : g?.classCSchedulingType === 'GPS_TIME' ? 'GPS_TIME' : 'SPACED',
    mcAddr: g?.mcAddr ?? '',
    mcNwkSKey: g?.mcNwkSKey ?? '',
    mcAppSKey: g?.mcAppSKey ?? '',
    fCnt: g?.fCnt ?? 0,
    dr: g?.dr ?? 0,
    frequency: (g?.frequency ?? 869525000) / 1e6,
    periodicity: String(g?.classBPingSlotPeriodicity ?? 0),
  };
}

/** What cannot be read as hex is sent as it is: the API names it. */
export function groupOf(v: GroupValues, applicationId: string, id = ''): Group {
  return {
    id,
    applicationId,
    name: v.name,
    region: v.region as Group['region'],
    groupType: v.mode === 'CLASS_B' ? 'CLASS_B' : 'CLASS_C',
    classCSchedulingType: v.mode === 'GPS_TIME' ? 'GPS_TIME' : 'DELAY',
    mcAddr: parseHex(v.mcAddr, 8) ?? v.mcAddr,
    mcNwkSKey: parseHex(v.mcNwkSKey, 32) ?? v.mcNwkSKey,
    mcAppSKey: parseHex(v.mcAppSKey, 32) ?? v.mcAppSKey,
    fCnt: Number(v.fCnt || 0),
    dr: Number(v.dr || 0),
    frequency: Math.round(Number(v.frequency || 0) * 1e6),
    classBPingSlotPeriodicity: Number(v.periodicity),
  };
}
