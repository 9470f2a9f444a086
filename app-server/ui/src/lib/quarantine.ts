/* When a device's quarantine holds. It ends by itself, and a page knows before it asks again. Pure. */
import { toTime } from './format';

export function holding<Q extends { until: string | null }>(quarantine: Q | null | undefined, now: number): Q | undefined {
  return quarantine && (toTime(quarantine.until) ?? 0) > now ? quarantine : undefined;
}
